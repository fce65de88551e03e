"""How far a pooled score can be trusted: intervals clustered by speaker. Imports no torch.

The headline is a score of all test predictions pooled, and the interval is for that same quantity:
a t interval whose standard error comes from leaving out one speaker at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

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
    value = float(score(confusion.sum(axis=0)))
    if len(confusion) < 2:
        return Estimate(value)
    half = _half_width(value, pseudo_values(confusion, score))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def spread_over_folds(confusion: Floats, score: Score) -> float | None:
    """Standard deviation of a score over folds; None for a single one.

    Args:
        confusion: (folds, classes, classes).
        score: one of ``SCORES``.
    """
    return float(np.std(score(confusion), ddof=1)) if len(confusion) > 1 else None


def paired_estimate(first: Floats, second: Floats, score: Score) -> Estimate:
    """Difference of two pooled scores with its 95 % interval, as in ``pooled_estimate``.

    Args:
        first: (clusters, classes, classes) of one system.
        second: the same clusters of the other.
        score: one of ``SCORES``.
    """
    value = float(score(first.sum(axis=0)) - score(second.sum(axis=0)))
    if len(first) < 2:
        return Estimate(value)
    half = _half_width(value, pseudo_values(first, score) - pseudo_values(second, score))
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))


def pseudo_values(confusion: Floats, score: Score) -> Floats:
    """What each cluster contributes to a pooled score.

    Where every speaker has equally many clips of each class, these are the speakers' own UARs;
    elsewhere a speaker's own UAR would leave out the classes it lacks. Those of a difference are
    the differences of these.

    Source: Tukey 1958, "Bias and confidence in not-quite large samples": clusters times the pooled
    score, minus (clusters - 1) times the one without the cluster.

    Args:
        confusion: (clusters, classes, classes), at least two clusters.
        score: one of ``SCORES``.

    Returns:
        (clusters,) float64, in units of the score.
    """
    pooled, num_clusters = confusion.sum(axis=0), len(confusion)
    return np.asarray(num_clusters * score(pooled) - (num_clusters - 1) * score(pooled - confusion))


def _half_width(value: float, contributions: Floats) -> float:
    """Of a 95 % t interval around a pooled value, from the pseudo-values of at least 2 clusters."""
    num_clusters = len(contributions)
    variance = np.sum((contributions - value) ** 2) / (num_clusters * (num_clusters - 1))
    return float(stats.t.ppf(0.975, num_clusters - 1) * np.sqrt(variance))


def p_over_speakers(differences: Floats) -> float:
    """Two-sided p of a difference paired over speakers: Wilcoxon's signed-rank test.

    Args:
        differences: (speakers,) of the ``pseudo_values`` of two systems.
    """
    # Shares of equal counts differ in the last bits; equal ones must tie, and zeros be zero.
    rounded = np.round(differences, 10)
    if not rounded.any():
        return 1.0
    return float(stats.wilcoxon(rounded).pvalue)


def p_over_folds(differences: Floats, test_to_train: float) -> float:
    """Two-sided p of a difference over folds whose training sets overlap.

    The plain paired t takes folds for independent; this one widens its variance from 1/folds to
    1/folds + num_test / num_train.

    Source: Nadeau and Bengio 2003, "Inference for the Generalization Error", section 3, equation
    with the corrected resampled t.

    Args:
        differences: (folds,) of the two systems, at least two.
        test_to_train: clips tested in a fold over clips of all other folds.
    """
    error = corrected_error(float(np.std(differences, ddof=1)), len(differences), test_to_train)
    return _two_sided_p(float(np.mean(differences)), error, len(differences) - 1)


def corrected_error(fold_sd: float, num_folds: int, test_to_train: float) -> float:
    """Standard error of a mean over folds, corrected as in ``p_over_folds``."""
    return fold_sd * float(np.sqrt(1 / num_folds + test_to_train))


def _two_sided_p(mean: float, error: float, degrees: int) -> float:
    """Of Student's t; equal differences, which have no error, decide by being zero or not."""
    if error < 1e-12:
        return 1.0 if abs(mean) < 1e-12 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, degrees))


def detectable_effect(num_clusters: int, alpha: float, power: float) -> float:
    """Difference, in standard deviations of the clusters, that a two-sided paired t test finds.

    The noncentral t is inverted directly: statsmodels' ``TTestPower`` agrees from 24 clusters on,
    and gives up silently (answering 10) for few clusters with a small ``alpha``.

    Args:
        num_clusters: at least 2.
        alpha: chance of a difference found where there is none.
        power: chance of finding it.
    """
    degrees = num_clusters - 1
    threshold = stats.t.isf(alpha / 2, degrees)
    return float(special.nctdtrinc(degrees, 1 - power, threshold) / np.sqrt(num_clusters))
