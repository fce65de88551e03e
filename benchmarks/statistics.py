"""How far a pooled score can be trusted: intervals clustered by speaker. Imports no torch.

The headline is a score of all test predictions pooled, and the interval is for that same quantity:
a t interval whose standard error comes from leaving out one speaker at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from scipy.cluster.hierarchy import DisjointSet

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
    """A score with its 95 % interval; None where there is no interval."""

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


def choose_clusters(
    speakers: Sequence[str | None],
    clip_ids: Sequence[str],
    copies: Sequence[Sequence[str]] = (),
) -> Clusters:
    """Speakers where every one is known, else recordings, whose interval is too narrow.

    Args:
        speakers: of each row.
        clip_ids: of each row.
        copies: groups of clips that are one recording; they may overlap.
    """
    if any(speaker is None for speaker in speakers):
        return Clusters(
            _name_recordings(clip_ids, copies),
            None,
            "speakers unknown: the interval clusters by recording (copies of a clip count as one) "
            "and is too narrow, as recordings of one speaker are alike.",
        )
    num_speakers = len(set(speakers))
    caveat = ""
    if num_speakers == 1:
        caveat = "n = 1 speaker: no interval."
    elif num_speakers < ENOUGH_SPEAKERS:
        caveat = f"n = {num_speakers}, indicative: the interval rests on few speakers."
    return Clusters(np.asarray(speakers, dtype=np.str_), num_speakers, caveat)


def _name_recordings(
    clip_ids: Sequence[str], copies: Sequence[Sequence[str]]
) -> npt.NDArray[np.str_]:
    """Each clip's recording: groups that share a clip are one."""
    recordings: DisjointSet = DisjointSet(
        [*clip_ids, *(clip for group in copies for clip in group)]
    )
    for group in copies:
        for clip_id in group:
            recordings.merge(group[0], clip_id)
    return np.asarray([recordings[clip_id] for clip_id in clip_ids], dtype=np.str_)


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


def pooled_estimate(confusion: Floats, score: Score, lowest: float = 0.0) -> Estimate:
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
        score: one of ``SCORES``, say; NaN where it can't be told.
        lowest: that the score can be; the highest is 1.

    Returns:
        Without an interval for a single cluster, or if the score can't be told without one of them.
    """
    value = float(score(confusion.sum(axis=0)))
    if len(confusion) < 2:
        return Estimate(value)
    half = _half_width(value, pseudo_values(confusion, score))
    if np.isnan(half):
        return Estimate(value)
    return Estimate(value, max(lowest, value - half), min(1.0, value + half))


def spread_over_folds(confusion: Floats, score: Score) -> float | None:
    """Standard deviation of a score over folds; None for a single one.

    Args:
        confusion: (folds, classes, classes).
        score: one of ``SCORES``.
    """
    return float(np.std(score(confusion), ddof=1)) if len(confusion) > 1 else None


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


@dataclass(frozen=True)
class Paired:
    """A difference of two pooled scores with its error, paired over speakers."""

    estimate: Estimate
    """With the 95 % interval that goes with ``p_value``."""
    p_value: float | None
    """Two-sided; None where one fit judged every speaker."""
    error: float
    degrees: int
    """Of freedom: speakers - 1, or groups - 1 where groups that share a fit scatter more."""


def compare_paired(first: Floats, second: Floats, groups: Sequence[int], score: Score) -> Paired:
    """Student's t of the speakers' contributions to a difference of two pooled scores.

    Speakers that one fit judged share its luck. Where that shows (such groups scatter more than
    their speakers would make them), the error is that of groups, with groups - 1 degrees of
    freedom; else that of speakers. A single group shows nothing of it, so there is no test. In
    ``benchmarks/results/simulation``, Wilcoxon's test, the plain t and the studentised bootstrap
    over speakers find a difference between equal systems in 8 % of trials where fits vary with the
    seed; this rule does in 4 %.

    Source: one-way cluster-robust variance at the two levels as in Cameron and Miller 2015, "A
    Practitioner's Guide to Cluster-Robust Inference", section IV.A; taking the larger is ours.

    Args:
        first: (speakers, classes, classes) of one system, at least two speakers.
        second: the same speakers of the other.
        groups: (speakers,) which of them share fits, see ``group_by_fit``.
        score: one of ``SCORES``.
    """
    value = float(score(first.sum(axis=0)) - score(second.sum(axis=0)))
    deviations = pseudo_values(first, score) - pseudo_values(second, score) - value
    error, degrees = _error_of_sum(deviations / len(deviations))
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if 1 < len(names) < len(deviations):
        sums = np.bincount(group, weights=deviations / len(deviations)).astype(np.float64)
        error, degrees = max((error, degrees), _error_of_sum(sums))
    half = float(stats.t.ppf(0.975, degrees)) * error
    estimate = Estimate(value, max(-1.0, value - half), min(1.0, value + half))
    p_value = _two_sided_p(value, error, degrees) if len(names) > 1 else None
    return Paired(estimate, p_value, error, degrees)


def group_by_fit(speakers: Sequence[str], folds: Sequence[int]) -> dict[str, int]:
    """Which speakers share fits, directly or through others: a number for each speaker.

    Args:
        speakers: of each prediction.
        folds: of each prediction, whose clips one fit judged.
    """
    shared: DisjointSet = DisjointSet([*speakers, *folds])
    for speaker, fold in zip(speakers, folds, strict=True):
        shared.merge(speaker, fold)
    return {
        name: number
        for number, group in enumerate(shared.subsets())
        for name in group
        if isinstance(name, str)
    }


def _error_of_sum(deviations: Floats) -> tuple[float, int]:
    """Standard error of a sum of independent deviations from their mean, and its degrees."""
    degrees = len(deviations) - 1
    return float(np.sqrt(np.sum(deviations**2) * len(deviations) / degrees)), degrees


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


def detectable_effect(degrees: int, alpha: float, power: float) -> float:
    """Difference, in standard errors, that a two-sided t test finds.

    The noncentral t is inverted directly: statsmodels' ``TTestPower`` agrees from 24 clusters on,
    and gives up silently (answering 10) for few clusters with a small ``alpha``.

    Args:
        degrees: of freedom.
        alpha: chance of a difference found where there is none.
        power: chance of finding it.
    """
    return float(special.nctdtrinc(degrees, 1 - power, stats.t.isf(alpha / 2, degrees)))
