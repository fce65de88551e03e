"""Scores of single-label predictions, all in [0, 1]: UAR is the headline. Imports no torch.

Every score but the calibration error is a function of the confusion matrix alone, and takes one
matrix or a stack of them, so that pooling predictions is adding matrices.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def compute_metrics(
    labels: Ints, probabilities: Floats, classes: Sequence[str]
) -> dict[str, float]:
    """UAR, WA, macro-F1 and calibration error of one set of predictions.

    Args:
        labels: (clips,) int64, indices into ``classes``.
        probabilities: (clips, classes) float64 in [0, 1], rows sum to 1.
        classes: names, in the order of the columns.

    Raises:
        ValueError: no clips, or shapes and labels that don't fit the classes.
    """
    if len(labels) == 0 or probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"expected labels (clips,) and probabilities (clips, {len(classes)}) with at least one "
            f"clip, got {labels.shape} and {probabilities.shape}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(
            f"labels must be indices of the {len(classes)} classes, "
            f"got {labels.min()} to {labels.max()}"
        )
    confusion = confusion_matrix(labels, probabilities)
    return {
        "uar": float(uar(confusion)),
        "wa": float(wa(confusion)),
        "macro_f1": float(macro_f1(confusion)),
        "calibration_error": expected_calibration_error(labels, probabilities),
    }


def decide(probabilities: Floats) -> Floats:
    """Each clip's decision as shares of one vote: 1 for the most probable class.

    Exactly tied classes share the vote, which is the expected result of guessing among them;
    an argmax would favour whichever class is named first.

    Args:
        probabilities: (clips, classes) float64.

    Returns:
        (clips, classes) float64, rows sum to 1.
    """
    winners = probabilities == probabilities.max(axis=1, keepdims=True)
    return winners / winners.sum(axis=1, keepdims=True)


def confusion_matrix(labels: Ints, probabilities: Floats) -> Floats:
    """Counts of clips by true class and decided class.

    Args:
        labels: (clips,) int64 indices.
        probabilities: (clips, classes) float64.

    Returns:
        (classes, classes) float64: rows are true classes, columns decisions (see ``decide``).
    """
    num_classes = probabilities.shape[1]
    return np.eye(num_classes)[labels].T @ decide(probabilities)


def recalls(confusion: Floats) -> Floats:
    """Share of each class that was found; NaN for a class without clips.

    Args:
        confusion: (..., classes, classes).

    Returns:
        (..., classes) in [0, 1].
    """
    found = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _divide(found, confusion.sum(axis=-1))


def uar(confusion: Floats) -> Floats:
    """Unweighted average recall over the classes present in the labels.

    Args:
        confusion: (..., classes, classes).

    Returns:
        (...) in [0, 1].
    """
    return np.nanmean(recalls(confusion), axis=-1)


def wa(confusion: Floats) -> Floats:
    """Weighted accuracy: the share of clips decided rightly.

    Args:
        confusion: (..., classes, classes).

    Returns:
        (...) in [0, 1].
    """
    return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))


def macro_f1(confusion: Floats) -> Floats:
    """Unweighted mean of the F1 scores of the classes present in the labels.

    Args:
        confusion: (..., classes, classes).

    Returns:
        (...) in [0, 1].
    """
    found = np.diagonal(confusion, axis1=-2, axis2=-1)
    clips, decided = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return np.nanmean(np.where(clips > 0, _divide(2 * found, clips + decided), np.nan), axis=-1)


def expected_calibration_error(labels: Ints, probabilities: Floats, num_bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over equally wide bins of confidence.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2, with its 15
    bins. It is biased upward in small samples, so compare it only between equally many clips.

    Args:
        labels: (clips,) int64 indices.
        probabilities: (clips, classes) float64, rows sum to 1.
        num_bins: of (0, 1].
    """
    _, confidence, correct = calibration_bins(labels, probabilities, num_bins).T
    return float(np.abs(correct - confidence).sum() / len(labels))


def calibration_bins(labels: Ints, probabilities: Floats, num_bins: int = 15) -> Floats:
    """How sure the decisions were and how many were right, by equally wide bins of confidence.

    Args:
        labels: (clips,) int64 indices.
        probabilities: (clips, classes) float64, rows sum to 1.
        num_bins: of (0, 1].

    Returns:
        (num_bins, 3) float64: clips, sum of their confidences, how many were decided rightly.
    """
    confidence = probabilities.max(axis=1)
    correct = np.take_along_axis(decide(probabilities), labels[:, None], axis=1)[:, 0]
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    columns = [
        np.bincount(bins, weights=weights, minlength=num_bins)
        for weights in (np.ones(len(labels)), confidence, correct)
    ]
    return np.stack(columns, axis=1)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Elementwise quotient, NaN where the denominator is 0."""
    quotient = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)
