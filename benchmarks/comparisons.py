"""Which differences between the rows of one table are more than chance. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
from statsmodels.stats.multitest import multipletests

from benchmarks.results import SystemResult
from benchmarks.statistics import (
    Estimate,
    Floats,
    confusion_by,
    detectable_effect,
    p_over_folds,
    p_over_speakers,
    paired_estimate,
    pseudo_values,
)
from finetune import metrics

ALPHA = 0.05
"""Chance of calling any difference of a table real where there is none."""
POWER = 0.8
"""Chance of finding a difference that the design is said to resolve."""


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same tests; ``first`` has the higher pooled UAR."""

    first: str
    second: str
    difference: Estimate
    """Pooled UAR of the first minus the second's; an interval where speakers are known."""
    p_value: float | None
    """Paired over speakers; None where speakers are unknown or one, or the tests differ."""
    p_holm: float | None
    """The same, corrected over all pairs of the table."""
    p_folds: float | None
    """Secondary, over folds; None for one fold or for tests that differ."""
    num_speakers: int | None
    """None: unknown, or the tests differ."""
    speaker_sd: float | None = None
    """Standard deviation over speakers of the difference; None as ``p_value``."""


@dataclass(frozen=True)
class Resolution:
    """What difference of pooled UAR a table can show, in [0, 1]."""

    num_speakers: int
    num_pairs: int
    speaker_sd: float
    """Median over pairs of the standard deviation over speakers of the difference."""
    single: float
    """For one comparison planned beforehand."""
    corrected: float
    """For the first step of Holm's correction over all pairs."""

    def describe(self) -> str:
        """One line for under the table."""
        single = (
            f"With {self.num_speakers} speakers, whose differences between two systems scatter by "
            f"{100 * self.speaker_sd:.1f} points (SD, median over pairs), a difference of "
            f"{100 * self.single:.1f} points UAR is found with {100 * POWER:.0f} % power at "
            f"{100 * ALPHA:.0f} %"
        )
        if self.num_pairs == 1:
            return f"{single}."
        return (
            f"{single} if planned beforehand, one of {100 * self.corrected:.1f} points among the "
            f"{self.num_pairs} pairs of the table."
        )


def compare_all(systems: Sequence[SystemResult]) -> tuple[Comparison, ...]:
    """Every pair of rows, so that choosing the best one after seeing the table is covered.

    Args:
        systems: of one protocol, which share no name.

    Returns:
        Best first; ``p_holm`` is corrected (Holm 1979) over all pairs that have a ``p_value``.
    """
    scored = sorted(map(_Scored, systems), key=lambda row: (-row.uar, row.name))
    pairs = [_compare(first, second) for first, second in combinations(scored, 2)]
    p_values = [pair.p_value for pair in pairs if pair.p_value is not None]
    if not p_values:
        return tuple(pairs)
    corrected = iter(multipletests(p_values, alpha=ALPHA, method="holm")[1])
    return tuple(
        pair if pair.p_value is None else replace(pair, p_holm=float(next(corrected)))
        for pair in pairs
    )


def find_winners(comparisons: Sequence[Comparison], names: Sequence[str]) -> tuple[str, ...]:
    """The row that may be bold: it beats every other candidate after correction.

    Args:
        comparisons: from ``compare_all``.
        names: candidates.

    Returns:
        One name, or none where no candidate beats all others or there is only one.
    """
    beaten: dict[str, set[str]] = {name: set() for name in names}
    for pair in comparisons:
        if pair.first in beaten and pair.p_holm is not None and pair.p_holm < ALPHA:
            beaten[pair.first].add(pair.second)
    return tuple(name for name in names if len(names) > 1 and {*names} <= beaten[name] | {name})


def detectable_difference(systems: Sequence[SystemResult]) -> Resolution | None:
    """What difference the design resolves; None where nothing can be tested.

    Args:
        systems: of one protocol, as in ``compare_all``.
    """
    tested = [pair for pair in compare_all(systems) if pair.speaker_sd is not None]
    counts = [pair.num_speakers for pair in tested if pair.num_speakers is not None]
    if not counts:
        return None
    num_speakers, speaker_sd = min(counts), float(np.median([pair.speaker_sd for pair in tested]))
    single, corrected = (
        speaker_sd * detectable_effect(num_speakers, alpha, POWER)
        for alpha in (ALPHA, ALPHA / len(tested))
    )
    return Resolution(num_speakers, len(tested), speaker_sd, single, corrected)


class _Scored:
    """A system's tests and confusion matrices, computed once for all its pairs."""

    def __init__(self, result: SystemResult) -> None:
        self.name = result.about.system
        self._result = result
        self._labels, self._probabilities = result.labels, result.probabilities
        self.uar = float(metrics.uar(metrics.confusion_matrix(self._labels, self._probabilities)))

    @cached_property
    def tests(self) -> frozenset[tuple[int, str, str | None]]:
        """Fold, clip and speaker; empty where not every seed judged every clip."""
        frame = self._result.frame
        tests = frozenset(
            zip(frame["fold"].astype(int), frame["clip_id"], self._result.speakers, strict=True)
        )
        whole = len(frame) == len(tests) * frame["seed"].nunique()
        return tests if whole else frozenset()

    @cached_property
    def by_speaker(self) -> Floats | None:
        """(speakers, classes, classes), seeds pooled; None where a speaker is unknown."""
        speakers = self._result.speakers
        if any(speaker is None for speaker in speakers):
            return None
        return confusion_by(self._labels, self._probabilities, np.asarray(speakers, dtype=np.str_))

    @cached_property
    def by_fold(self) -> Floats:
        """(folds, classes, classes), seeds pooled."""
        folds = self._result.frame["fold"].to_numpy()
        return confusion_by(self._labels, self._probabilities, folds)

    @property
    def test_to_train(self) -> float:
        """Clips tested in a fold over those of all other folds; infinite for a single fold."""
        per_fold = len(self.tests) / len(self.by_fold)
        others = len({clip_id for _, clip_id, _ in self.tests}) - per_fold
        return per_fold / others if others > 0 else float("inf")


def _compare(first: _Scored, second: _Scored) -> Comparison:
    """A pair; the first has the higher UAR."""
    difference = Estimate(first.uar - second.uar)
    unknown = Comparison(first.name, second.name, difference, None, None, None, None)
    if not first.tests or first.tests != second.tests:
        return unknown
    pair = replace(unknown, p_folds=_compare_folds(first, second))
    if first.by_speaker is None or second.by_speaker is None:
        return pair
    num_speakers = len(first.by_speaker)
    if num_speakers < 2:
        return replace(pair, num_speakers=num_speakers)
    values = pseudo_values(first.by_speaker, metrics.uar)
    values = values - pseudo_values(second.by_speaker, metrics.uar)
    return replace(
        pair,
        difference=paired_estimate(first.by_speaker, second.by_speaker, metrics.uar),
        p_value=p_over_speakers(values),
        num_speakers=num_speakers,
        speaker_sd=float(np.std(values, ddof=1)),
    )


def _compare_folds(first: _Scored, second: _Scored) -> float | None:
    differences = metrics.uar(first.by_fold) - metrics.uar(second.by_fold)
    if len(differences) < 2 or not np.isfinite(first.test_to_train):
        return None
    return p_over_folds(differences, first.test_to_train)
