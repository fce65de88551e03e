"""The gate: every check on a corpus and its folds, and what stops a training run."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ssl_audio.audit.copied import (
    find_copied,
    find_neighbours,
    find_split_parents,
    note_copies,
)
from ssl_audio.audit.identical import find_duplicates, find_identical_audio
from ssl_audio.audit.labels import find_conflicting_labels, find_missing_classes, find_shared_texts
from ssl_audio.audit.parts import CopyPair, FoldClips
from ssl_audio.audit.report import Finding
from ssl_audio.audit.speakers import (
    find_doubtful_speakers,
    find_doubtful_voices,
    find_same_voices,
    find_shared_speakers,
    find_unknown_speakers,
)
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import DataError

if TYPE_CHECKING:
    from ssl_audio.audit.voices import Voices

LEAKY_ENDING = "-LEAKY"
"""Of the names of protocols that leak on purpose, for the inflation report."""
FOLD_CHECKS = (
    find_shared_speakers,
    find_identical_audio,
    find_copied,
    find_neighbours,
    find_split_parents,
    find_unknown_speakers,
    find_shared_texts,
    find_missing_classes,
)


def audit_fold(
    clips: Sequence[Clip],
    fold: Fold,
    protocol: str | None = None,
    copies: Iterable[CopyPair] = (),
) -> list[Finding]:
    """Findings on one fold, none if it is clean.

    Args:
        clips: of the corpus.
        fold: the split.
        protocol: full name of the folds that it belongs to, for the report.
        copies: that were found in the audio of the corpus.

    Raises:
        DataError: the fold names clips that are not in the corpus.
    """
    parts = FoldClips.find(clips, fold, protocol, copies)
    return [finding for check in FOLD_CHECKS for finding in check(parts)]


def audit_folds(
    clips: Sequence[Clip], protocols: Iterable[Folds], copies: Sequence[CopyPair] = ()
) -> list[Finding]:
    """Findings on a corpus and on every fold of some protocols.

    Raises:
        DataError: a fold names clips that are not in the corpus.
    """
    findings = [
        *find_duplicates(clips),
        *find_conflicting_labels(clips, copies),
        *note_copies(copies),
        *find_doubtful_speakers(clips),
    ]
    for folds in protocols:
        for fold in folds.folds:
            findings += audit_fold(clips, fold, folds.protocol, copies)
    return findings


def judge_voices(
    clips: Sequence[Clip], protocols: Iterable[Folds], voices: "Voices"
) -> list[Finding]:
    """What the voices of a corpus tell of its speakers and of every fold of some protocols.

    Raises:
        DataError: a fold names clips that are not in the corpus.
    """
    findings = [*find_doubtful_voices(voices)]
    for folds in protocols:
        for fold in folds.folds:
            findings += find_same_voices(FoldClips.find(clips, fold, folds.protocol), voices)
    return findings


def guard(corpus: PreparedCorpus, folds: Folds, numbers: Iterable[int]) -> None:
    """The gate before training: passes silently, or stops.

    Args:
        corpus: whose audio is searched for copies, once; what is found is kept beside it.
        folds: of the protocol; a name that ends in ``-LEAKY`` is let through.
        numbers: of the folds that are trained on, from 1.

    Raises:
        DataError: a fold leaks.
    """
    if folds.protocol.endswith(LEAKY_ENDING):
        return
    from ssl_audio.audit.copies import find_copies

    copies = find_copies(corpus)
    for number in numbers:
        refuse_leaks(corpus.clips, folds, number, copies)


def refuse_leaks(
    clips: Sequence[Clip], folds: Folds, number: int, copies: Iterable[CopyPair] = ()
) -> None:
    """Stops at the first leak of a fold.

    Args:
        clips: of the corpus.
        folds: of the protocol; a name that ends in ``-LEAKY`` is let through.
        number: of the fold, from 1.
        copies: that were found in the audio of the corpus.

    Raises:
        DataError: the fold leaks into its test part, or its validation part is learnt from.
    """
    if folds.protocol.endswith(LEAKY_ENDING):
        return
    for finding in audit_fold(clips, folds.fold(number), folds.protocol, copies):
        if finding.severity == "leak":
            raise DataError(
                f"{folds.protocol} fold {number} leaks ({finding.kind}): {finding.evidence}; "
                "mend the folds (python -m ssl_audio audit names every clip)"
            )
