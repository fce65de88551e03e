"""Probabilities and thresholds that can be trusted; all are fitted to validation clips only.

Whatever is fitted here says what would have been best on clips that the model has not learnt from;
fitted to training clips it would say that the model is surer than it is. Imports no torch.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

from finetune.metrics import Floats, Ints, decide

Booleans = npt.NDArray[np.bool_]

TEMPERATURES = (0.05, 20.0)
"""Least and most that is fitted."""
FLOOR = float(np.finfo(np.float64).eps)
"""Probabilities nearer to 0 (for independent classes, also to 1) are taken for this near, as their
logarithm would have no end."""
_ROUNDING = 1e-12


def fit_temperature(log_probabilities: Floats, targets: Floats) -> float:
    """The temperature of a softmax that makes validation clips most likely.

    1 where no other is better, as with one answer for all classes. Where every clip is decided
    rightly the likelihood rises the colder it gets, so that the least of ``TEMPERATURES`` comes
    out; where the answers tell less than guessing, the most.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. Ours looks
    within bounds, and takes shares of classes too.

    Args:
        log_probabilities: (clips, classes) float64; logits do as well, and -inf is probability 0.
        targets: (clips, classes) float64, the share of each class; rows sum to 1.

    Raises:
        ValueError: shapes that differ, no clips, rows without a finite logarithm, or targets that
            are no shares.
    """
    _refuse_unequal(targets, log_probabilities)
    if not np.isfinite(log_probabilities.max(axis=1)).all() or np.isnan(log_probabilities).any():
        raise ValueError("log_probabilities must have a finite number in every row and no NaN")
    if (targets < 0).any() or np.abs(targets.sum(axis=1) - 1).max() > 1e-6:
        raise ValueError(
            "targets must be shares of classes that sum to 1 for each clip, "
            f"got sums from {targets.sum(axis=1).min()} to {targets.sum(axis=1).max()}"
        )
    logs = np.maximum(log_softmax(log_probabilities, axis=1), np.log(FLOOR))

    def measure_surprise(temperature: float) -> float:
        return -float((targets * log_softmax(logs / temperature, axis=1)).sum(axis=1).mean())

    return _minimise(measure_surprise)


def fit_sigmoid_temperature(logits: Floats, targets: Floats) -> float:
    """The one temperature of independent classes that makes validation clips most likely.

    As ``fit_temperature``, with the binary cross-entropy of every class.

    Args:
        logits: (clips, classes) float64, infinite for probabilities 0 and 1.
        targets: (clips, classes) float64 in [0, 1].

    Raises:
        ValueError: shapes that differ, no clips, NaN, or targets outside [0, 1].
    """
    _refuse_unequal(targets, logits)
    if np.isnan(logits).any():
        raise ValueError("logits must not hold NaN")
    if targets.min() < 0 or targets.max() > 1:
        raise ValueError(
            f"targets must lie in [0, 1], got {targets.min()} to {targets.max()}: "
            "give probabilities, not labels or logits"
        )
    bounded = np.clip(logits, logit(FLOOR), logit(1 - FLOOR))

    def measure_surprise(temperature: float) -> float:
        scaled = bounded / temperature
        return float((np.logaddexp(0, scaled) - targets * scaled).mean())

    return _minimise(measure_surprise)


def temper(probabilities: Floats, temperature: float) -> Floats:
    """What a softmax would have answered with its logits divided by a temperature.

    The order of a clip's classes stays, and with it the decision; classes apart by no more than
    rounding may tie.

    Args:
        probabilities: (clips, classes) float64, rows sum to 1.
        temperature: above 1 makes them less sure.

    Returns:
        (clips, classes) float64, rows sum to 1.
    """
    tempered: Floats = softmax(np.log(np.maximum(probabilities, FLOOR)) / temperature, axis=1)
    return tempered


def temper_sigmoid(probabilities: Floats, temperature: float) -> Floats:
    """What independent classes would have answered with their logits divided by a temperature.

    The order of a class's clips stays. A probability stays on its side of 0.5, not on its side of
    another threshold: choose thresholds on tempered probabilities.

    Args:
        probabilities: (clips, classes) float64 in [0, 1].
        temperature: above 1 moves them towards 0.5.

    Returns:
        (clips, classes) float64 in [0, 1].
    """
    tempered: Floats = expit(logit(np.clip(probabilities, FLOOR, 1 - FLOOR)) / temperature)
    return tempered


def choose_thresholds(probabilities: Floats, targets: Floats) -> Floats:
    """For each class the probability from which on it is said to be there, by F1.

    Candidates are 0.5 and the middles between neighbouring probabilities of validation clips, the
    lowest one's other neighbour being 0; of equally good ones the nearest to 0.5 is taken. A class
    that is in no clip, or in all, gets 0.5: nothing can be learnt of where it starts.

    Args:
        probabilities: (clips, classes) float64 in [0, 1].
        targets: (clips, classes), 1 where the class is there and 0 where it is not.

    Returns:
        (classes,) float64; a class is there from its threshold on (``>=``).

    Raises:
        ValueError: shapes that differ, no clips, or targets other than 0 and 1.
    """
    _refuse_unequal(targets, probabilities)
    if not np.isin(targets, (0, 1)).all():
        raise ValueError(f"targets must be 0 or 1, got {np.setdiff1d(targets, (0, 1))[0]}")
    columns = zip(probabilities.T, targets.T.astype(bool), strict=True)
    return np.array([_choose_threshold(answers, there) for answers, there in columns])


def choose_confidence(labels: Ints, probabilities: Floats, wanted_accuracy: float) -> float | None:
    """The confidence below which to say "don't know", so that the rest is right often enough.

    The lowest that reaches the wanted accuracy on validation clips, as it loses the fewest answers.
    Being the best of many on these clips, it is a little less accurate on others.

    Args:
        labels: (clips,) int64.
        probabilities: (clips, classes) float64, rows sum to 1; the largest is the confidence.
        wanted_accuracy: in (0, 1].

    Returns:
        A clip's confidence, from which on (``>=``) there is an answer; None if none is high enough.

    Raises:
        ValueError: no clips, or an accuracy that can't be.
    """
    if not 0 < wanted_accuracy <= 1:
        raise ValueError(f"wanted_accuracy must lie in (0, 1], got {wanted_accuracy}")
    _, accuracy = risk_coverage(labels, probabilities).T
    (enough,) = np.nonzero(accuracy >= wanted_accuracy - _ROUNDING)
    if not len(enough):
        return None
    levels = np.unique(probabilities.max(axis=1))[::-1]
    return float(levels[enough[-1]])


def is_sure(probabilities: Floats, confidence: float | None) -> Booleans:
    """Which clips get an answer; the others are "don't know".

    Args:
        probabilities: (clips, classes) float64.
        confidence: of ``choose_confidence``; None answers nothing.

    Returns:
        (clips,) bool.
    """
    least = np.inf if confidence is None else confidence
    sure: Booleans = probabilities.max(axis=1) >= least
    return sure


def risk_coverage(labels: Ints, probabilities: Floats) -> Floats:
    """How accurate the answers are when only the surest are given.

    Source: Geifman & El-Yaniv 2017, "Selective Classification for Deep Neural Networks", section 2;
    their risk is 1 - accuracy. Clips of equal confidence are answered together; classes that tie
    share a clip, as in ``finetune.metrics.decide``.

    Args:
        labels: (clips,) int64.
        probabilities: (clips, classes) float64, rows sum to 1.

    Returns:
        (confidences, 2) float64: share of clips answered and accuracy on them, surest first; one
        row for each confidence that occurs, so at most one for each clip.

    Raises:
        ValueError: no clips, or as many labels as there are not clips.
    """
    if len(labels) == 0 or len(labels) != len(probabilities):
        raise ValueError(
            f"expected one label for each of at least one clip, got {len(labels)} labels and "
            f"{len(probabilities)} clips"
        )
    correct = np.take_along_axis(decide(probabilities), labels[:, None], axis=1)[:, 0]
    _, ranks = np.unique(-probabilities.max(axis=1), return_inverse=True)
    answered = np.cumsum(np.bincount(ranks))
    right = np.cumsum(np.bincount(ranks, weights=correct))
    return np.stack([answered / len(labels), right / answered], axis=1)


def area_under_risk_coverage(curve: Floats) -> float:
    """Mean risk over all coverages: 0 for answers that are all right, lower is better.

    Source: Geifman, Uziel & El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural
    Classifiers": the mean over clips of the risk down to each one's confidence.

    Args:
        curve: (confidences, 2), of ``risk_coverage``.
    """
    coverage, accuracy = curve.T
    return float((np.diff(coverage, prepend=0) * (1 - accuracy)).sum())


def _minimise(measure_surprise: Callable[[float], float]) -> float:
    """The temperature of least surprise, which has one valley; 1 unless another is better."""
    found = minimize_scalar(
        lambda log_temperature: measure_surprise(np.exp(log_temperature)),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-6},
    )
    best = min((float(np.exp(found.x)), *TEMPERATURES), key=measure_surprise)
    return best if measure_surprise(best) < measure_surprise(1.0) - _ROUNDING else 1.0


def _choose_threshold(answers: Floats, there: Booleans) -> float:
    """Of one class: (clips,) probabilities, and whether it is there."""
    if there.all() or not there.any():
        return 0.5
    levels = np.unique(answers)
    candidates = np.append((levels + np.insert(levels[:-1], 0, 0)) / 2, 0.5)
    # Counted at the candidate itself: a middle may be rounded to its neighbour.
    said = len(answers) - np.searchsorted(np.sort(answers), candidates)
    found = there.sum() - np.searchsorted(np.sort(answers[there]), candidates)
    f1 = 2 * found / (said + there.sum())
    best = candidates[f1 >= f1.max() - _ROUNDING]
    return float(best[np.abs(best - 0.5).argmin()])


def _refuse_unequal(targets: Floats, answers: Floats) -> None:
    if targets.ndim != 2 or targets.shape != answers.shape or not targets.size:
        raise ValueError(
            "expected targets and answers (clips, classes) of one shape with at least one clip, "
            f"got {targets.shape} and {answers.shape}"
        )
