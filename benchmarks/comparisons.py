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
    compare_paired,
    confusion_by,
    detectable_effect,
    group_by_fit,
    p_over_folds,
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
    """Pooled UAR of the first minus the second's; an interval where there is a ``p_value``."""
    p_value: float | None
    """Paired over speakers (``compare_paired``); None where speakers are unknown or one, where one
    fit judged all of them, or the tests differ."""
    p_holm: float | None
    """The same, corrected over all pairs of the table."""
    p_folds: float | None
    """Secondary, over folds; None for one fold or for tests that differ."""
    num_speakers: int | None
    """None: unknown, or the tests differ."""
    error: float | None = None
    """Standard error of the difference; None as ``p_value``."""
    degrees: int | None = None
    """Of freedom of the error: speakers - 1, or folds - 1 where the folds scatter more."""


@dataclass(frozen=True)
class Resolution:
    """What difference of pooled UAR a table can show, in [0, 1]."""

    num_speakers: int
    num_pairs: int
    single: float
    """For one comparison planned beforehand; median over pairs."""
    corrected: float
    """For the first step of Holm's correction over all pairs; median over pairs."""

    def describe(self) -> str:
        """One line for under the table."""
        single = (
            f"With {self.num_speakers} speakers, a difference of {100 * self.single:.1f} points "
            f"UAR is found with {100 * POWER:.0f} % power at {100 * ALPHA:.0f} %"
        )
        if self.num_pairs == 1:
            return f"{single}."
        return (
            f"{single} if planned beforehand, one of {100 * self.corrected:.1f} points among the "
            f"{self.num_pairs} pairs of the table (medians over pairs)."
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
    tested = [
        (pair.num_speakers, pair.error, pair.degrees)
        for pair in compare_all(systems)
        if pair.num_speakers is not None and pair.error is not None and pair.degrees is not None
    ]
    if not tested:
        return None
    single, corrected = (
        float(np.median([error * detectable_effect(df, alpha, POWER) for _, error, df in tested]))
        for alpha in (ALPHA, ALPHA / len(tested))
    )
    return Resolution(min(count for count, _, _ in tested), len(tested), single, corrected)


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

    @cached_property
    def groups(self) -> list[int]:
        """Which speakers share fits, in the order of ``by_speaker``."""
        speakers = [str(speaker) for speaker in self._result.speakers]
        group = group_by_fit(speakers, self._result.frame["fold"].astype(int).tolist())
        return [group[speaker] for speaker in sorted(group)]

    @property
    def test_to_train(self) -> float:
        """Clips tested in a fold over those that it learns from or chooses on.

        If the protocol's are unknown, over the clips of all other folds; infinite for one fold.
        """
        if self._result.about.test_to_train is not None:
            return self._result.about.test_to_train
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
    paired = compare_paired(first.by_speaker, second.by_speaker, first.groups, metrics.uar)
    if paired.p_value is None:
        return replace(pair, num_speakers=num_speakers)
    return replace(
        pair,
        difference=paired.estimate,
        p_value=paired.p_value,
        num_speakers=num_speakers,
        error=paired.error,
        degrees=paired.degrees,
    )


def _compare_folds(first: _Scored, second: _Scored) -> float | None:
    differences = metrics.uar(first.by_fold) - metrics.uar(second.by_fold)
    if len(differences) < 2 or not np.isfinite(first.test_to_train):
        return None
    return p_over_folds(differences, first.test_to_train)
