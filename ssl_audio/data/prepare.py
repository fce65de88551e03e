"""Corpus files to a prepared corpus: decode in parallel, write aside, swap in when whole."""

import csv
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TypeVar

from ssl_audio.data.audio import Int16, measure
from ssl_audio.data.corpora import CORPORA, CorpusReader, Listing, Quarantined
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.data.prepared import PreparedCorpus, folds_path, write_corpus
from ssl_audio.errors import DataError, UserError
from ssl_audio.progress import with_progress

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Preparation:
    """What preparing gave."""

    corpus: PreparedCorpus
    folds: tuple[Folds, ...]
    quarantined: tuple[Quarantined, ...]
    notes: tuple[str, ...]
    """What else the user should know, e.g. why there are no folds."""
    wall_seconds: float


def prepare(
    name: str,
    source: Path | None,
    output: Path,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Preparation:
    """Reads a corpus and writes the prepared folder: audio, manifest, quarantine, folds, page.

    The folder appears whole or not at all; equal sources give equal shards, manifests and folds.

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
    quarantined = list(listing.quarantined)
    with _swapped_in(output) as folder:
        write_corpus(folder, name, _decode_all(listing, quarantined))
        quarantined = sorted(map(_printable, quarantined), key=astuple)
        corpus = replace(PreparedCorpus.load(folder), root=output)
        _refuse_unusable(corpus, quarantined, source, strict)
        _write_quarantine(quarantined, folder / "quarantine.csv")
        folds, notes = _write_folds(CORPORA[name], corpus.clips, folder)
        _write_page(corpus, folder, quarantined)
    return Preparation(
        PreparedCorpus.load(output),
        folds,
        tuple(quarantined),
        (*listing.notes, *notes),
        time.monotonic() - start,
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
    lines += [f"note: {note}" for note in preparation.notes]
    lines += _describe_quarantine(preparation)
    return "\n".join(lines)


def _describe_quarantine(preparation: Preparation, most: int = 5) -> list[str]:
    quarantined = preparation.quarantined
    lines = [f"set aside: {len(quarantined)}"]
    lines += [f"  {item.path}: {item.reason}" for item in quarantined[:most]]
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


def _decode_all(listing: Listing, quarantined: list[Quarantined]) -> Iterator[tuple[Clip, Int16]]:
    """Measured clips by clip_id with their audio; what can't be used joins ``quarantined``."""
    clips = sorted(listing.clips, key=lambda clip: (clip.clip_id, clip.path))
    last: Clip | None = None

    def decode(clip: Clip) -> list[tuple[Clip, Int16]] | Quarantined:
        try:
            _refuse_unwritable(clip.path)
            parts = list(listing.decode(clip))
        except DataError as error:
            return Quarantined(clip.path, str(error))
        return [(part.with_measured(**measure(samples)), samples) for part, samples in parts]

    decoded = _map_in_threads(decode, clips)
    for outcome in with_progress(decoded, len(clips), "decode", "clip"):
        if isinstance(outcome, Quarantined):
            quarantined.append(outcome)
            continue
        first = outcome[0][0]
        if last is not None and first.clip_id == last.clip_id:
            quarantined.append(Quarantined(first.path, _compare_namesakes(last, first)))
            continue
        last = first
        yield from outcome


def _compare_namesakes(kept: Clip, second: Clip) -> str:
    audio = "same audio" if second.audio_sha256 == kept.audio_sha256 else "OTHER AUDIO"
    label = "" if second.emotion == kept.emotion else f", labelled {second.emotion} here"
    kept_label = f", labelled {kept.emotion} there" if label else ""
    return f"second file of clip {kept.clip_id}: {kept.path} is kept ({audio}{label}{kept_label})"


def _map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in order; no more than a few are held. Decoding and resampling release the GIL."""
    num_threads = os.cpu_count() or 1
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 8 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _refuse_unwritable(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError("its name is not UTF-8: rename it") from None


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


@contextmanager
def _swapped_in(output: Path) -> Iterator[Path]:
    """A new folder beside ``output`` that takes its place if the block succeeds."""
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name}.{os.getpid()}.partial")
    old = output.with_name(f".{output.name}.{os.getpid()}.old")
    aside.mkdir()
    try:
        yield aside
        if output.exists():
            output.rename(old)
        aside.rename(output)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
