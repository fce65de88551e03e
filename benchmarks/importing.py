"""Predictions that something else made, into a results folder: they get the same treatment."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.agreement import (
    refuse_other_classes,
    refuse_other_clips,
    refuse_other_folds,
    refuse_other_rows,
)
from benchmarks.evidence import Evidence, gather_evidence
from benchmarks.formats.latex import latex_row
from benchmarks.layout import lay_out
from benchmarks.predictions_csv import read_csv
from benchmarks.protocol import DEVELOPMENT_NOTE
from benchmarks.results import (
    LEAKS,
    check_predictions,
    load_results,
    predictions_path,
    save_predictions,
    slug,
)
from benchmarks.scoring import score_all
from benchmarks.verdict import Verdict, judge
from finetune.predictions import Predictions, Provenance
from ssl_audio.errors import UserError

POOL_NAMES = {"hackerearth": ("competition",), "emodb": ("emo-db",)}
"""What pretraining pools call a corpus, other than its reader."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What whoever imports says of a row; nothing of it can be checked here."""

    pretraining_data: str = ""
    parameters: int | None = None
    train_seconds: float | None = None
    contaminated: str = ""
    reduced: str = ""


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    files: tuple[Path, ...]
    verdict: Verdict
    latex_row: str
    """The row as in ``table.tex``, with the marks of its legend there."""
    notes: tuple[str, ...]
    """What that legend says of the row."""


def import_predictions(
    source: Path,
    system: str,
    protocol: str | None,
    results: Path,
    *,
    folds: Path | None = None,
    corpora: Sequence[Path] = (),
    train_clips: Path | None = None,
    declared: Declared | None = None,
) -> Imported:
    """Checks predictions and stores them, one file for each fold and seed.

    Args:
        source: CSV with the columns clip_id, speaker (may be empty), fold, seed, label and one
            column of probabilities for each class; or a parquet file that ``finetune`` wrote.
        system: the row's name in the table; importing under it again replaces folds and seeds.
        protocol: full name of what a CSV was tested by; a parquet file says it itself.
        results: folder, made if it is not there.
        folds: see ``gather_evidence``.
        corpora: prepared folders; see there.
        train_clips: what the system learnt from; see ``read_training``.
        declared: facts for the table.

    Raises:
        UserError: a file that can't be read or scored, predictions that contradict the protocol,
            the corpus or other rows, or a name that another row has.
    """
    if not system.strip():
        raise UserError("--system is the row's name and must not be empty")
    predictions = _read(source, protocol)
    predictions = replace(predictions, about=replace(predictions.about, system=system))
    evidence = gather_evidence(predictions.about, folds, corpora, train_clips)
    predictions = evidence.place(predictions)
    if predictions.about.task == "multilabel":
        raise UserError(f"{predictions.about.protocol} is multilabel: a row here has one label")
    check_predictions(predictions, str(source))
    paths = _name_files(predictions, results)
    _refuse_contradictions(predictions, evidence, results, list(paths), str(source))
    predictions = evidence.complete(predictions)
    verdict = judge(predictions, evidence)
    about = _describe(predictions.about, declared or Declared(), evidence, verdict, source)
    for path, (fold, seed) in paths.items():
        frame = predictions.frame
        part = frame[(frame["fold"] == fold) & (frame["seed"] == seed)]
        save_predictions(Predictions(about, part), path)
    row, notes = _format_row(about, results)
    return Imported(tuple(paths), verdict, row, notes)


def _read(source: Path, protocol: str | None) -> Predictions:
    if source.suffix == ".csv":
        if not protocol:
            raise UserError(
                f"{source} does not say what it was tested by: give --protocol, "
                "for example --protocol ravdess-speech-8/emobox6"
            )
        return read_csv(source, protocol)
    predictions = Predictions.load(source)
    if protocol not in (None, predictions.about.protocol):
        raise UserError(
            f"{source} was tested by {predictions.about.protocol}: leave --protocol {protocol} out"
        )
    return predictions


def _name_files(predictions: Predictions, results: Path) -> dict[Path, tuple[int, int]]:
    """Where each fold and seed goes; names with one slug are told apart by their hash."""
    about = predictions.about
    name = f"{slug(about.system)}-{hashlib.sha256(about.system.encode()).hexdigest()[:6]}"
    return {
        predictions_path(results, about.protocol, name, int(fold), int(seed)): (fold, seed)
        for fold, seed in predictions.frame.groupby(["fold", "seed"]).groups
    }


def _refuse_contradictions(
    predictions: Predictions, evidence: Evidence, results: Path, replaced: list[Path], source: str
) -> None:
    if evidence.protocol is not None:
        refuse_other_classes(predictions, evidence.protocol, source)
    if evidence.folds is not None:
        refuse_other_classes(predictions, evidence.folds, source)
        refuse_other_folds(predictions, evidence.folds, source)
    if evidence.clips:
        refuse_other_clips(predictions, evidence.clips, source)
    refuse_other_rows(predictions, results, replaced, source)


def _describe(
    about: Provenance, declared: Declared, evidence: Evidence, verdict: Verdict, source: Path
) -> Provenance:
    """The row's provenance with what is declared and what was found."""
    told = {name: value for name, value in vars(declared).items() if value not in ("", None)}
    # A run of ours has compared the audio of its pool with that of the test.
    unchecked = not about.pretraining_data
    for name, value in told.items():
        own = getattr(about, name)
        if own not in ("", None, value):
            option = name.replace("_", "-")
            raise UserError(f"{source} says {name} {own!r}: leave --{option} {value} out")
    about = replace(about, **told)
    facts = (f"as declared, not checked: {', '.join(told).replace('_', ' ')}",) if told else ()
    # A run's own file says where it comes from; a CSV says nothing.
    notes = (verdict.note,) if verdict.leak or source.suffix == ".csv" else ()
    if evidence.protocol is not None and evidence.protocol.development:
        notes = (DEVELOPMENT_NOTE, *notes)
    named = _find_test_corpus(about, evidence.tested_corpus) if unchecked else ""
    leaks = (about.leak, verdict.leak, named)
    return replace(
        about,
        leak=min(leaks, key=LEAKS.index),
        notes=tuple(dict.fromkeys((*about.notes, *notes, *facts))),
    )


def _find_test_corpus(about: Provenance, tested: str) -> str:
    """``transductive`` where the pool that is declared names the corpus of the test.

    Args:
        about: protocol and pool.
        tested: reader of the corpus; empty if only the protocol's name can tell it.
    """
    named = about.protocol.rsplit("->", 1)[-1].split("/")[0].split("-")[0]
    corpora = {tested or named.lower(), named.lower()}
    pool = f"-{slug(about.pretraining_data)}-"
    names = {name for corpus in corpora for name in (corpus, *POOL_NAMES.get(corpus, ()))}
    return "transductive" if any(f"-{name}-" in pool for name in names) else ""


def _format_row(about: Provenance, results: Path) -> tuple[str, tuple[str, ...]]:
    """The row's line of LaTeX in its table, and its notes."""
    neighbours = [
        result
        for result in load_results(results)
        if (result.about.protocol, result.about.task) == (about.protocol, about.task)
    ]
    section, row = next(
        (section, row)
        for section in score_all(neighbours)
        for row in section.rows
        if row.about.system == about.system
    )
    table = lay_out(section)
    cells = next(line for line in table.rows if line[0].value == about.system)
    notes = tuple(f"({mark}) {text}" for mark, text in table.legend if text in row.notes)
    return latex_row(table.headings, cells), notes
