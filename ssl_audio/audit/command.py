"""The command ``audit``: opens what is to be looked at, looks, and says what that took."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from ssl_audio.audit.copies import Copy, find_copies, find_copies_between
from ssl_audio.audit.copies.joints import MOST_CLIPS
from ssl_audio.audit.feature_table import (
    FeatureTable,
    find_own_folds,
    find_sides,
    read_features,
)
from ssl_audio.audit.fold_folder import find_lists
from ssl_audio.audit.front_end import check_front_end
from ssl_audio.audit.gate import audit_folds, judge_voices
from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.others_splits import read_declared_split, read_folds, read_lists
from ssl_audio.audit.oversampled import MOST_ROWS
from ssl_audio.audit.pool import Pool, find_pretraining_pool, open_pool, read_pool_of_run
from ssl_audio.audit.report import Audit, Finding, count_of
from ssl_audio.audit.shortcuts import FEWEST_CLIPS, can_be_judged, find_shortcuts
from ssl_audio.audit.sources import Source, open_source
from ssl_audio.audit.table_checks import check_table
from ssl_audio.audit.tables import COLUMNS
from ssl_audio.audit.voices import listen
from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.corpora.tables import TABLES, open_table
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to audit, as the command line says it."""

    source: Path
    """A prepared corpus, a manifest, a table of audio files, a folder of audio."""
    train: Path | None = None
    validation: Path | None = None
    test: Path | None = None
    folds: Path | None = None
    """A table, JSON, or a folder of lists."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of tables, by field."""
    features: Path | None = None
    """A table of features."""
    pretraining: Path | None = None
    """What pretraining saw: a prepared folder, a manifest, a table or folder of audio."""
    run: Path | None = None
    """Folder of a run of pretraining or fine-tuning."""

    @property
    def lists(self) -> dict[str, Path]:
        """The lists of clips that were given, by part."""
        lists = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: path for part, path in lists.items() if path is not None}


@dataclass
class Notebook:
    """What an audit gathers on its way."""

    findings: list[Finding] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def audit(request: Request) -> Audit:
    """Looks at everything that the request gives.

    Raises:
        UserError: something that can't be read, or names of clips that are not there.
    """
    start = time.monotonic()
    _refuse_odd(request)
    with ExitStack() as opened:
        source = opened.enter_context(open_source(request.source, request.columns))
        notebook = Notebook()
        protocols = _choose_folds(request, source, notebook)
        _tell_source(source, notebook)
        if request.features is not None:
            table = _look_at_features(request.features, request, source, protocols, notebook)
            protocols += find_own_folds(table)
        notebook.findings += audit_folds(source.clips, protocols, _find_copies(source, notebook))
        _look_for_shortcuts(source, notebook)
        for pool in _open_pools(request, source, notebook, opened):
            notebook.findings += _look_for_pool(pool, source, protocols)
        if request.run is not None:
            _look_at_run(request.run, source, notebook)
        if any(clip.speaker is not None for clip in source.clips):
            notebook.findings += _listen(source, protocols, notebook)
    return Audit(
        findings=tuple(notebook.findings),
        protocols=tuple(protocols),
        looked_at=tuple(notebook.looked_at),
        missed=tuple(notebook.missed),
        seconds=time.monotonic() - start,
    )


def _refuse_odd(request: Request) -> None:
    if request.folds is not None and request.lists:
        raise UserError("--folds and --train, --validation or --test: give one or the other")
    for option in ("folds", "run", "pretraining", "features"):
        path: Path | None = getattr(request, option)
        if path is not None and not path.exists():
            raise UserError(f"--{option} {path}: no such file or folder")
    _refuse_odd_columns(request)


def _refuse_odd_columns(request: Request) -> None:
    """Every field of ``--map`` must be one that is read, its column in one of the tables."""
    if not request.columns:
        return
    known = sorted({*COLUMNS, "clip_id", *CORPORA["csv"].fields})
    paths = (request.source, request.folds, request.features, *request.lists.values())
    given = [path for path in paths if path is not None]
    if request.folds is not None and request.folds.is_dir():
        given += [found.path for found in find_lists(request.folds)]
    tables = [path for path in given if path.is_file() and path.suffix.lower() in TABLES]
    headers = [column for path in tables for column in open_table(path).header]
    for field_name, column in request.columns.items():
        if field_name not in known:
            raise UserError(f"--map {field_name}={column}: audit reads {', '.join(known)}")
        if column not in headers:
            there = ", ".join(headers[:12]) or "there is no table"
            raise UserError(f"--map {field_name}={column}: no table has this column, got {there}")


def _choose_folds(request: Request, source: Source, notebook: Notebook) -> list[Folds]:
    """The given lists or folds, else all that the corpus itself brings."""
    if request.folds is None and not request.lists:
        declared = read_declared_split(source.clips)
        return [*source.folds, *([declared] if declared else [])]
    names = ClipNames(source.clips, source.set_aside)
    if request.folds is not None:
        folds, num_lost = read_folds(request.folds, names, request.columns)
    else:
        folds, num_lost = read_lists(request.lists, names, request.columns)
    if num_lost:
        notebook.missed.append(f"{count_of(num_lost, 'clip')} of the split that can't be read")
    if left_out := len(source.clips) - len({*folds.clip_ids}):
        notebook.missed.append(f"{count_of(left_out, 'clip')} that the split leaves out")
    return [folds]


def _tell_source(source: Source, notebook: Notebook) -> None:
    num_hashed = sum(clip.audio_sha256 is not None for clip in source.clips)
    notebook.looked_at.append(f"names and labels of {count_of(len(source.clips), 'clip')}")
    if num_hashed:
        what = "hashed audio" if source.corpus is not None else "declared hashes of audio"
        notebook.looked_at.append(f"the {what} of {num_hashed}")
    if num_hashed < len(source.clips):
        num_blind = len(source.clips) - num_hashed
        notebook.missed.append(f"the audio of {count_of(num_blind, 'clip')} that nobody decoded")
    if source.set_aside:
        notebook.missed.append(f"{count_of(len(source.set_aside), 'file')} set aside as unusable")


def _find_copies(source: Source, notebook: Notebook) -> tuple[Copy, ...]:
    if source.corpus is None:
        notebook.missed.append("copies in other samples: the manifest brings no audio")
        return ()
    notebook.looked_at.append("copies in other samples, re-encoded, cut or changed")
    _tell_unheard_joints(source.clips, "", notebook)
    return find_copies(source.corpus)


def _tell_unheard_joints(clips: Sequence[Clip], where: str, notebook: Notebook) -> None:
    if len(clips) > MOST_CLIPS:
        notebook.missed.append(
            f"neighbouring pieces without overlap{where}: over {MOST_CLIPS} clips"
        )


def _listen(source: Source, protocols: list[Folds], notebook: Notebook) -> list[Finding]:
    """Whether declared speakers sound like different ones."""
    voices = None if source.corpus is None else listen(source.corpus)
    if voices is None:
        notebook.missed.append("whose voices they are: speakers are believed as declared")
        return []
    notebook.looked_at.append(f"the voices of {len(voices.speakers)} speakers")
    if voices.num_left_out:
        notebook.missed.append(
            f"the voices of {count_of(voices.num_left_out, 'speaker')}: too few clips, "
            "or too many speakers"
        )
    return judge_voices(source.clips, protocols, voices)


def _look_for_shortcuts(source: Source, notebook: Notebook) -> None:
    if can_be_judged(source.clips):
        notebook.findings += find_shortcuts(source.clips)
        notebook.looked_at.append("what format, length and name tell of the label")
    else:
        notebook.missed.append(
            f"what a file tells of its label: under 2 classes of {FEWEST_CLIPS} clips"
        )


def _look_at_features(
    path: Path, request: Request, source: Source, protocols: list[Folds], notebook: Notebook
) -> FeatureTable:
    names = ClipNames(source.clips, source.set_aside)
    table = read_features(path, source.clips, names, request.columns)
    num_rows, num_features = table.values.shape
    notebook.looked_at.append(f"{num_rows} rows of {count_of(num_features, 'feature')}")
    if num_nameless := sum(clip_id is None for clip_id in table.clip_ids):
        notebook.missed.append(f"whose {num_nameless} rows are that name no clip: taken as made up")
    if table.num_dropped:
        notebook.missed.append(f"{count_of(table.num_dropped, 'feature')} with gaps")
    if table.num_empty:
        notebook.missed.append(f"{count_of(table.num_empty, 'row')} without most features")
    if num_rows > MOST_ROWS:
        notebook.missed.append(f"rows between others: over {MOST_ROWS} rows")
    notebook.findings += check_table(table, find_sides(table, protocols), source.clips)
    return table


def _look_at_run(run: Path, source: Source, notebook: Notebook) -> None:
    if source.corpus is None:
        notebook.missed.append(f"constants of {run}: the manifest brings no audio")
        return
    findings, missed = check_front_end(run, source.corpus)
    notebook.findings += findings
    if missed is None:
        notebook.looked_at.append(f"the constants of {run}, recomputed")
    else:
        notebook.missed.append(missed)


def _open_pools(
    request: Request, source: Source, notebook: Notebook, opened: ExitStack
) -> list[Pool]:
    pools = []
    if request.pretraining is not None:
        pools.append(opened.enter_context(open_pool(request.pretraining)))
    if request.run is not None:
        pool = read_pool_of_run(request.run)
        if pool is None:
            notebook.missed.append(f"what {request.run} was pretrained on: nobody wrote it down")
        else:
            pools.append(pool)
    return [_search_pool(pool, source, notebook) for pool in pools]


def _search_pool(pool: Pool, source: Source, notebook: Notebook) -> Pool:
    """With the copies of the corpus's clips in it, where both bring their audio."""
    notebook.looked_at.append(f"what pretraining saw ({count_of(len(pool.clips), 'clip')})")
    if pool.num_set_aside:
        unusable = count_of(pool.num_set_aside, "file")
        notebook.missed.append(f"{unusable} of {pool.name}, set aside as unusable")
    if not pool.clips:
        return pool
    if pool.corpus is None or source.corpus is None:
        notebook.missed.append(f"changed copies in {pool.name}: by its manifest only equal audio")
        return pool
    _tell_unheard_joints([*source.clips, *pool.clips], f" in {pool.name}", notebook)
    return replace(pool, copies=find_copies_between(source.corpus, pool.corpus))


def _look_for_pool(pool: Pool, source: Source, protocols: list[Folds]) -> list[Finding]:
    by_id = {clip.clip_id: clip for clip in source.clips}
    if not protocols:
        return list(find_pretraining_pool(source.clips, pool))
    return [
        finding
        for folds in protocols
        for fold in folds.folds
        for finding in find_pretraining_pool(
            [by_id[clip_id] for clip_id in fold.test], pool, folds.protocol, fold.number
        )
    ]
