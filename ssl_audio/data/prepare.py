"""Corpus files to a prepared corpus: decode in parallel, write aside, swap in when whole."""

import csv
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from ssl_audio.cores import count_cores
from ssl_audio.data.aside import folder_aside, link, swap_in
from ssl_audio.data.corpora import CORPORA, CorpusReader, Listing, Quarantined
from ssl_audio.data.folds import Folds
from ssl_audio.data.journal import Journal
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.data.portions import Outcome, Portion, decode_portion, divide
from ssl_audio.data.prepared import PreparedCorpus, describe_corpus, folds_path, shard_name
from ssl_audio.errors import DataError, UserError
from ssl_audio.progress import progress_bar


@dataclass(frozen=True)
class Preparation:
    """What preparing gave."""

    corpus: PreparedCorpus
    folds: tuple[Folds, ...]
    quarantined: tuple[Quarantined, ...]
    notes: tuple[str, ...]
    """What else the user should know, e.g. why there are no folds."""
    wall_seconds: float
    num_taken_over: int = 0
    """Recordings that an interrupted run had decoded."""


def prepare(
    name: str,
    source: Path | None,
    output: Path,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Preparation:
    """Reads a corpus and writes the prepared folder: audio, manifest, quarantine, folds, page.

    The folder appears whole or not at all; equal sources give equal shards, manifests and folds.
    What is decoded is kept aside, in ``.NAME.partial``: after an interruption the same call goes
    on there, and gives the same bytes.

    Args:
        name: of a reader in ``CORPORA``.
        source: what the reader expects; None for a corpus that makes its own audio.
        output: folder; an older prepared corpus there is replaced.
        columns: column names by field of Clip, for readers of tables.
        strict: refuse a corpus of which anything must be set aside.

    Raises:
        UserError: unknown reader, wrong source, nothing readable, or ``output`` is something else.
    """
    start = time.monotonic()
    listing = _find_reader(name, columns or {}).read(source, columns or {})
    _refuse_foreign(output)
    portions, set_aside = divide(listing)
    quarantined = [*listing.quarantined, *set_aside]
    with folder_aside(output) as aside:
        journal = Journal(aside)
        journal.keep(portions if listing.stamp else ())
        outcomes, num_taken_over = _decode_all(listing, portions, journal)
        quarantined += [item for outcome in outcomes for item in outcome.quarantined]
        quarantined = sorted(map(_printable, quarantined), key=astuple)
        folder = _assemble(aside / "whole", name, portions, outcomes, journal)
        corpus = replace(PreparedCorpus.load(folder), root=output)
        _refuse_unusable(corpus, quarantined, source, strict)
        _write_quarantine(quarantined, folder / "quarantine.csv")
        folds, notes = _write_folds(CORPORA[name], corpus.clips, folder)
        _write_page(corpus, folder, quarantined)
        swap_in(folder, output)
    return Preparation(
        PreparedCorpus.load(output),
        folds,
        tuple(quarantined),
        (*listing.notes, *notes),
        time.monotonic() - start,
        num_taken_over,
    )


def parse_columns(items: Iterable[str]) -> dict[str, str]:
    """``field=COLUMN`` items to columns by field.

    Raises:
        UserError: an item of another form.
    """
    columns = {}
    for item in items:
        field, _, column = item.partition("=")
        if not field or not column:
            raise UserError(f"--map {item}: expected field=COLUMN, e.g. --map emotion=label")
        columns[field] = column
    return columns


def describe(preparation: Preparation) -> str:
    """The summary for the terminal, some lines."""
    corpus = preparation.corpus
    hours = corpus.num_samples.sum() / SAMPLE_RATE / 3600
    speakers = {clip.speaker for clip in corpus.clips} - {None}
    classes = Counter(emotion for clip in corpus.clips for emotion in clip.emotions)
    lines = [
        f"{corpus.root}: {len(corpus)} clips, {hours:.2f} h, {len(speakers) or 'unknown'} "
        f"speakers, {len(classes)} classes, in {preparation.wall_seconds:.1f} s"
    ]
    if classes:
        lines.append("classes: " + ", ".join(f"{name} {n}" for name, n in sorted(classes.items())))
    for folds in preparation.folds:
        fold = folds.folds[0]
        num_clips = len(fold.train) + len(fold.validation) + len(fold.test)
        lines.append(f"folds: {folds.protocol}, {len(folds.folds)} folds of {num_clips} clips")
    if preparation.num_taken_over:
        lines.append(f"taken over from an interrupted run: {preparation.num_taken_over} recordings")
    lines += [f"note: {note}" for note in preparation.notes]
    lines += _describe_quarantine(preparation)
    return "\n".join(lines)


def _describe_quarantine(preparation: Preparation, most: int = 5) -> list[str]:
    quarantined = preparation.quarantined
    lines = [f"set aside: {len(quarantined)}"]
    # A name may hold line breaks.
    lines += [f"  {' '.join(item.path.split())}: {item.reason}" for item in quarantined[:most]]
    if len(quarantined) > most:
        rest = f"  and {len(quarantined) - most} more, see "
        lines.append(f"{rest}{preparation.corpus.root / 'quarantine.csv'}")
    return lines


def _find_reader(name: str, columns: Mapping[str, str]) -> CorpusReader:
    if name not in CORPORA:
        raise UserError(f"unknown corpus {name!r}: choose one of {', '.join(CORPORA)}")
    reader = CORPORA[name]
    for field in columns:
        if field not in reader.fields:
            known = ", ".join(reader.fields) or "no columns"
            raise UserError(f"--map {field}={columns[field]}: corpus {name} reads {known}")
    return reader


def _decode_all(
    listing: Listing, portions: Sequence[Portion], journal: Journal
) -> tuple[list[Outcome], int]:
    """What each portion gave, and how many recordings had been decoded before."""
    outcomes: dict[str, Outcome] = {}
    num_taken_over = 0
    stopped = threading.Event()
    num_recordings = sum(len(portion.clips) for portion in portions)
    with (
        progress_bar(num_recordings, "decode", "clip", leave=False) as bar,
        ThreadPoolExecutor(count_cores()) as pool,
    ):
        advance = _build_advance(bar.update, bar.set_postfix_str, stopped)

        def work(portion: Portion) -> tuple[Portion, Outcome, bool]:
            outcome = journal.find(portion)
            if outcome is not None:
                advance(len(portion.clips), 0)
                return portion, outcome, True
            shard = journal.shard_path(portion)
            return portion, decode_portion(portion, listing, shard, advance), False

        futures = [pool.submit(work, portion) for portion in portions]
        try:
            for future in as_completed(futures):
                portion, outcome, taken_over = future.result()
                outcomes[portion.key] = outcome
                if taken_over:
                    num_taken_over += len(portion.clips)
                else:
                    journal.add(portion, outcome)
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [outcomes[portion.key] for portion in portions], num_taken_over


def _build_advance(
    update: Callable[[int], object], say: Callable[[str, bool], object], stopped: threading.Event
) -> Callable[[int, int], None]:
    """Called from any thread with recordings and samples that are done; ends the work if asked."""
    lock = threading.Lock()
    num_samples = 0

    def advance(recordings: int, samples: int) -> None:
        nonlocal num_samples
        if stopped.is_set():
            raise InterruptedError("preparing was stopped")
        with lock:
            num_samples += samples
            say(f"{num_samples / SAMPLE_RATE / 3600:.1f} h of audio", False)
            update(recordings)

    return advance


def _assemble(
    folder: Path,
    name: str,
    portions: Sequence[Portion],
    outcomes: Sequence[Outcome],
    journal: Journal,
) -> Path:
    """A new folder with the shards in their order under their final names, and the manifest."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    clips: list[Clip] = []
    sizes: list[int] = []
    for portion, outcome in zip(portions, outcomes, strict=True):
        if outcome.clips:
            link(journal.shard_path(portion), folder / shard_name(len(sizes)))
            sizes.append(len(outcome.clips))
            clips += outcome.clips
    describe_corpus(folder, name, clips, sizes)
    return folder


def _printable(item: Quarantined) -> Quarantined:
    """Undecodable bytes of a file's name as escapes."""
    return Quarantined(item.path.encode(errors="backslashreplace").decode(), item.reason)


def _refuse_foreign(output: Path) -> None:
    if not output.exists() or (output / "corpus.json").is_file():
        return
    if not output.is_dir() or any(output.iterdir()):
        raise UserError(
            f"--output {output} exists and is not a prepared corpus: choose another folder"
        )


def _refuse_unusable(
    corpus: PreparedCorpus, quarantined: Sequence[Quarantined], source: Path | None, strict: bool
) -> None:
    first = f"first {quarantined[0].path}: {quarantined[0].reason}" if quarantined else ""
    if not len(corpus):
        trouble = f"none of {len(quarantined)} can be used, {first}" if first else "it has none"
        raise DataError(f"{source}: expected audio files, {trouble}")
    if strict and quarantined:
        raise DataError(f"--strict: {len(quarantined)} of {source} to be set aside, {first}")


def _write_quarantine(quarantined: Sequence[Quarantined], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "reason"])
        writer.writerows((item.path, item.reason) for item in quarantined)


def _write_folds(
    reader: CorpusReader, clips: Sequence[Clip], root: Path
) -> tuple[tuple[Folds, ...], tuple[str, ...]]:
    """The folds that the corpus offers; a corpus without any is still of use for pretraining."""
    (root / "folds").mkdir()
    try:
        offered = reader.build_folds(clips)
    except DataError as error:
        return (), (f"no folds: {error}",)
    for folds in offered:
        folds.save(folds_path(root, folds.protocol))
    return tuple(offered), ()


def _write_page(corpus: PreparedCorpus, folder: Path, quarantined: Sequence[Quarantined]) -> None:
    from ssl_audio.data.page import write_page

    write_page(corpus, folder / "corpus.html", quarantined)
