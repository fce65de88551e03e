"""The intervals and tests that are compared: those of ``benchmarks.statistics`` and naive ones."""

from collections.abc import Callable

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from benchmarks.simulation.world import Ints, Trial
from benchmarks.statistics import (
    Floats,
    Paired,
    compare_paired,
    p_over_folds,
    pooled_estimate,
    pseudo_values,
)
from finetune import metrics

Bounds = tuple[float, float]
Interval = Callable[[Floats, Ints, Floats], Bounds]
"""From (speakers, classes, classes), the fold of each speaker and resampling weights."""
Test = Callable[[Trial, int, Floats], float]
"""From a trial, the system that the first is compared with, and resampling weights."""


def draw_weights(num_speakers: int, num_resamples: int, rng: np.random.Generator) -> Floats:
    """(resamples, speakers): how often each resample of the speakers holds each of them."""
    chances = np.full(num_speakers, 1 / num_speakers)
    return rng.multinomial(num_speakers, chances, num_resamples).astype(np.float64)


def jackknife_t(confusion: Floats, folds: Ints, weights: Floats) -> Bounds:
    """What the tables print."""
    estimate = pooled_estimate(confusion, metrics.uar)
    assert estimate.low is not None and estimate.high is not None
    return estimate.low, estimate.high


def percentile_bootstrap(confusion: Floats, folds: Ints, weights: Floats) -> Bounds:
    """Quantiles of the pooled UAR over resamples of the speakers."""
    found = np.diagonal(confusion, axis1=1, axis2=2)
    counts = weights @ confusion.sum(axis=2)
    # A resample may lack a class, where counts are uneven.
    recalls = np.divide(weights @ found, counts, out=np.full_like(counts, np.nan), where=counts > 0)
    low, high = np.quantile(np.nanmean(recalls, axis=1), [0.025, 0.975])
    return float(low), float(high)


def studentised_bootstrap(confusion: Floats, folds: Ints, weights: Floats) -> Bounds:
    """Bootstrap-t of the mean of the speakers' pseudo-values."""
    values = pseudo_values(confusion, metrics.uar)
    centre = float(metrics.uar(confusion.sum(axis=0)))
    error = float(stats.sem(values))
    if error < 1e-12:
        return centre, centre
    low, high = np.quantile(_studentise(values, weights), [0.025, 0.975])
    return centre - float(high) * error, centre - float(low) * error


def normal_over_clips(confusion: Floats, folds: Ints, weights: Floats) -> Bounds:
    """Naive: binomial errors of the recalls, as if clips were independent."""
    pooled = confusion.sum(axis=0)
    recalls = metrics.recalls(pooled)
    error = np.sqrt(np.sum(recalls * (1 - recalls) / pooled.sum(axis=1))) / len(recalls)
    return float(recalls.mean() - 1.96 * error), float(recalls.mean() + 1.96 * error)


def t_over_folds(confusion: Floats, folds: Ints, weights: Floats) -> Bounds:
    """Naive: mean and scatter of the folds, as if they were independent; none for one fold."""
    uars = metrics.uar(by_fold(confusion, folds))
    if len(uars) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(uars) - 1) * stats.sem(uars)
    return float(uars.mean() - half), float(uars.mean() + half)


def bound_difference(trial: Trial, other: int) -> Bounds:
    """The interval of a difference, as in the tables; none for one fold."""
    paired = _compare(trial, other)
    low, high = paired.estimate.low, paired.estimate.high
    if paired.p_value is None or low is None or high is None:
        return float("nan"), float("nan")
    return low, high


def larger_error(trial: Trial, other: int, weights: Floats) -> float:
    """Student's t over speakers, or over folds where these scatter more: what the tables use.

    None for one fold, as in the tables.
    """
    p_value = _compare(trial, other).p_value
    return float("nan") if p_value is None else p_value


def wilcoxon_over_speakers(trial: Trial, other: int, weights: Floats) -> float:
    """Signed ranks of the speakers' differences."""
    # Shares of equal counts differ in the last bits; equal ones must tie, and zeros be zero.
    rounded = np.round(_differences(trial, other), 10)
    return float(stats.wilcoxon(rounded).pvalue) if rounded.any() else 1.0


def paired_t_over_speakers(trial: Trial, other: int, weights: Floats) -> float:
    """Student's t of the speakers' differences."""
    # Without the widening for overlapping training sets, the t of any paired differences.
    return p_over_folds(_differences(trial, other), 0.0)


def studentised_over_speakers(trial: Trial, other: int, weights: Floats) -> float:
    """Bootstrap-t of the speakers' differences."""
    values = _differences(trial, other)
    error = float(stats.sem(values))
    if error < 1e-12:
        return 1.0
    beyond = np.abs(_studentise(values, weights)) >= abs(values.mean()) / error
    return float((beyond.sum() + 1) / (len(beyond) + 1))


def corrected_t_over_folds(trial: Trial, other: int, weights: Floats) -> float:
    """Nadeau and Bengio's; none for one fold."""
    return _test_folds(trial, other, trial.test_to_train)


def naive_t_over_folds(trial: Trial, other: int, weights: Floats) -> float:
    """Naive: the folds' differences, as if they were independent; none for one fold."""
    return _test_folds(trial, other, 0.0)


def mcnemar_over_clips(trial: Trial, other: int, weights: Floats) -> float:
    """Naive: clips of the first seed that one system alone gets right, as if independent."""
    right, other_right = trial.correct[0, 0], trial.correct[0, other]
    table = [
        [np.sum(right & other_right), np.sum(right & ~other_right)],
        [np.sum(~right & other_right), np.sum(~right & ~other_right)],
    ]
    return float(mcnemar(table, exact=True).pvalue)


INTERVALS: dict[str, Interval] = {
    "jackknife t over speakers": jackknife_t,
    "percentile bootstrap over speakers": percentile_bootstrap,
    "studentised bootstrap over speakers": studentised_bootstrap,
    "normal over clips": normal_over_clips,
    "t over folds": t_over_folds,
}
TESTS: dict[str, Test] = {
    "t with the larger error": larger_error,
    "Wilcoxon over speakers": wilcoxon_over_speakers,
    "paired t over speakers": paired_t_over_speakers,
    "studentised bootstrap over speakers": studentised_over_speakers,
    "corrected t over folds": corrected_t_over_folds,
    "naive t over folds": naive_t_over_folds,
    "McNemar over clips": mcnemar_over_clips,
}


def _studentise(values: Floats, weights: Floats) -> Floats:
    """(resamples,) t of each resample's mean against the mean of all; constant resamples left out.

    Args:
        values: (speakers,).
        weights: from ``draw_weights``.
    """
    size = len(values)
    means = weights @ values / size
    variances = np.maximum(weights @ values**2 / size - means**2, 0) * size / (size - 1)
    errors = np.sqrt(variances / size)
    usable = errors > 1e-9
    return np.asarray((means[usable] - values.mean()) / errors[usable])


def _compare(trial: Trial, other: int) -> Paired:
    first, second = trial.confusion[0], trial.confusion[other]
    return compare_paired(first, second, trial.folds.tolist(), metrics.uar)


def _differences(trial: Trial, other: int) -> Floats:
    first, second = trial.confusion[0], trial.confusion[other]
    return pseudo_values(first, metrics.uar) - pseudo_values(second, metrics.uar)


def by_fold(confusion: Floats, folds: Ints) -> Floats:
    """(folds, classes, classes) from (speakers, classes, classes)."""
    return np.stack([confusion[folds == fold].sum(axis=0) for fold in np.unique(folds)])


def _test_folds(trial: Trial, other: int, test_to_train: float) -> float:
    first, second = (
        metrics.uar(by_fold(trial.confusion[system], trial.folds)) for system in (0, other)
    )
    return p_over_folds(first - second, test_to_train) if len(first) > 1 else float("nan")
