"""The leak gate: does a split let a model see in training what it is tested on?"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ssl_audio.audit.identical import find_duplicates, find_identical_audio, find_same_clip
from ssl_audio.audit.parts import FoldClips
from ssl_audio.audit.report import Finding, format_report, has_leak, write_json
from ssl_audio.audit.speakers import find_shared_speakers, find_unknown_speakers
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.errors import DataError, UserError

__all__ = [
    "LEAKY_ENDING",
    "Finding",
    "audit_fold",
    "audit_folds",
    "audit_prepared",
    "format_report",
    "has_leak",
    "refuse_leaks",
    "write_json",
]

LEAKY_ENDING = "-LEAKY"
"""Of the names of protocols that leak on purpose, for the inflation report."""
CORPUS_CHECKS = (find_duplicates,)
FOLD_CHECKS = (find_same_clip, find_shared_speakers, find_identical_audio, find_unknown_speakers)


def audit_fold(clips: Sequence[Clip], fold: Fold, protocol: str | None = None) -> list[Finding]:
    """Findings on one fold, none if it is clean.

    Args:
        clips: of the corpus.
        fold: the split.
        protocol: full name of the folds that it belongs to, for the report.

    Raises:
        DataError: the fold names clips that are not in the corpus.
    """
    parts = FoldClips.find(clips, fold, protocol)
    return [finding for check in FOLD_CHECKS for finding in check(parts)]


def audit_folds(clips: Sequence[Clip], protocols: Iterable[Folds]) -> list[Finding]:
    """Findings on a corpus and on every fold of some protocols.

    Raises:
        DataError: a fold names clips that are not in the corpus.
    """
    findings = [finding for check in CORPUS_CHECKS for finding in check(clips)]
    for folds in protocols:
        for fold in folds.folds:
            findings += audit_fold(clips, fold, folds.protocol)
    return findings


def audit_prepared(
    prepared: Path, folds_file: Path | None = None
) -> tuple[list[Finding], list[Folds]]:
    """Findings on a prepared corpus and the protocols that were looked at.

    Args:
        prepared: a prepared folder, or a manifest.
        folds_file: one file of folds; by default all of the folder's own.

    Raises:
        UserError: not a prepared corpus, or folds of another one.
    """
    manifest = prepared / "manifest.parquet" if prepared.is_dir() else prepared
    if not manifest.is_file():
        raise UserError(
            f"{prepared}: expected a prepared corpus or a manifest.parquet, there is none: "
            "make one with python -m ssl_audio prepare"
        )
    files = [folds_file] if folds_file else sorted(manifest.parent.glob("folds/*.csv"))
    protocols = [Folds.load(file) for file in files]
    return audit_folds(read_manifest(manifest), protocols), protocols


def refuse_leaks(clips: Sequence[Clip], folds: Folds, number: int) -> None:
    """The gate before training: passes silently, or stops.

    Args:
        clips: of the corpus.
        folds: of the protocol; a name that ends in ``-LEAKY`` is let through.
        number: of the fold, from 1.

    Raises:
        DataError: the fold leaks into its test part.
    """
    if folds.protocol.endswith(LEAKY_ENDING):
        return
    for finding in audit_fold(clips, folds.fold(number), folds.protocol):
        if finding.severity == "leak":
            raise DataError(
                f"{folds.protocol} fold {number} leaks ({finding.kind}): {finding.evidence}; "
                "mend the folds (python -m ssl_audio audit names every clip)"
            )
