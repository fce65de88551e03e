"""How far a pooled score can be trusted: intervals clustered by speaker. Imports no torch.

The headline is a score of all test predictions pooled, and the interval is for that same quantity:
a t interval whose standard error comes from leaving out one speaker at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from finetune import metrics

Floats = npt.NDArray[np.float64]
Score = Callable[[Floats], Floats]

SCORES: dict[str, Score] = {
    "uar": metrics.uar,
    "wa": metrics.wa,
    "macro_f1": metrics.macro_f1,
}
"""Scores of a confusion matrix that get an interval, the headline first."""

ENOUGH_SPEAKERS = 12
"""Fewer make an interval indicative only."""


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % interval, all in [0, 1]; None where there is no interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Clusters:
    """Which test predictions belong together, and what that means for the interval."""

    names: npt.NDArray[np.str_]
    """(rows,) the cluster of each prediction."""
    num_speakers: int | None
    """None: unknown."""
    caveat: str
    """What a reader of the interval must know; empty if nothing."""


def choose_clusters(speakers: Sequence[str | None], clip_ids: Sequence[str]) -> Clusters:
    """Speakers where every one is known, else clips, whose interval is too narrow.

    Predictions don't say which clips are copies of each other, so those can't be clusters.
    """
    if any(speaker is None for speaker in speakers):
        return Clusters(
            np.asarray(clip_ids, dtype=np.str_),
            None,
            "speakers unknown: the interval clusters by clip and is too narrow (clips of "
            "one speaker are alike, and copies of a clip count as different ones).",
        )
    num_speakers = len(set(speakers))
    caveat = ""
    if num_speakers == 1:
        caveat = "n = 1 speaker: no interval."
    elif num_speakers < ENOUGH_SPEAKERS:
        caveat = f"n = {num_speakers}, indicative: the interval rests on few speakers."
    return Clusters(np.asarray(speakers, dtype=np.str_), num_speakers, caveat)


def confusion_by(
    labels: npt.NDArray[np.int64], probabilities: Floats, groups: npt.NDArray[np.generic]
) -> Floats:
    """One confusion matrix for each group of predictions; their sum is the pooled one.

    Args:
        labels: (rows,) int64 indices.
        probabilities: (rows, classes) float64.
        groups: (rows,) anything that sorts.

    Returns:
        (groups, classes, classes) float64, in the order of the sorted groups.
    """
    names, group = np.unique(groups, return_inverse=True)
    num_classes = probabilities.shape[1]
    confusion = np.zeros((len(names), num_classes, num_classes))
    np.add.at(confusion, (group, labels), metrics.decide(probabilities))
    return confusion


def pooled_estimate(confusion: Floats, score: Score) -> Estimate:
    """A pooled score and its 95 % interval clustered by the first axis.

    The standard error is the delete-one-cluster jackknife of the pooled score and the quantile is
    Student's with clusters - 1 degrees of freedom. Where every speaker has equally many clips of
    each class, as in RAVDESS, the interval of the UAR equals the plain t interval on the speakers'
    own UARs; elsewhere that one would be centred on another quantity. A class that a single
    speaker has drops out when the speaker is left out: how it would vary from speaker to speaker
    can't be known from one.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 11; the t
    quantile and centring on the pooled value as CV3 in MacKinnon, Nielsen and Webb 2023,
    "Cluster-robust inference: a guide to empirical practice", section 2.3.

    Args:
        confusion: (clusters, classes, classes) counts of independent clusters.
        score: one of ``SCORES``.
    """
    pooled = confusion.sum(axis=0)
    value = float(score(pooled))
    num_clusters = len(confusion)
    if num_clusters < 2:
        return Estimate(value)
    left_out = score(pooled - confusion)
    variance = (num_clusters - 1) / num_clusters * np.sum((left_out - value) ** 2)
    half = float(stats.t.ppf(0.975, num_clusters - 1) * np.sqrt(variance))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def spread_over_folds(confusion: Floats, score: Score) -> float | None:
    """Standard deviation of a score over folds; None for a single one.

    Args:
        confusion: (folds, classes, classes).
        score: one of ``SCORES``.
    """
    return float(np.std(score(confusion), ddof=1)) if len(confusion) > 1 else None
