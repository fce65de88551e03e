"""Scores of clips that hold any number of classes, all in [0, 1]. Imports no torch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    hamming_loss,
    label_ranking_average_precision_score,
)

from finetune.metrics import Floats, Ints, expected_calibration_error


def compute_multilabel_metrics(
    targets: Ints, probabilities: Floats, thresholds: Floats, classes: Sequence[str]
) -> dict[str, float]:
    """Macro-F1 and its companions, of scikit-learn.

    Macro-F1 and mean average precision are means over the classes that at least one clip holds; a
    class said to be there that no clip holds costs Hamming loss and subset accuracy. Label-ranking
    precision is 1 for a clip that holds no class, or all: no order of them is wrong.

    Args:
        targets: (clips, classes) int64, 1 where the class is there and 0 where it is not.
        probabilities: (clips, classes) float64 in [0, 1], each class for itself.
        thresholds: (classes,) float64, see ``decide_classes``.
        classes: names, in the order of the columns.

    Returns:
        ``macro_f1``, ``mean_ap``, ``hamming`` (a loss: lower is better), ``subset_accuracy``,
        ``label_ranking_ap``, and ``calibration_error`` of all yes-no answers at 0.5.

    Raises:
        ValueError: shapes that don't fit, targets other than 0 and 1, or no class in any clip.
    """
    _refuse_misfits(targets, probabilities, thresholds, classes)
    decided = decide_classes(probabilities, thresholds)
    (present,) = np.nonzero(targets.any(axis=0))
    f1 = [f1_score(targets[:, i], decided[:, i], zero_division=0) for i in present]
    yes_or_no = np.stack([1 - probabilities.ravel(), probabilities.ravel()], axis=1)
    return {
        "macro_f1": float(np.mean(f1)),
        "mean_ap": mean_average_precision(targets, probabilities),
        "hamming": float(hamming_loss(targets, decided)),
        "subset_accuracy": float(accuracy_score(targets, decided)),
        "label_ranking_ap": float(label_ranking_average_precision_score(targets, probabilities)),
        "calibration_error": expected_calibration_error(targets.ravel(), yes_or_no),
    }


def mean_average_precision(targets: Ints, probabilities: Floats) -> float:
    """Mean over the classes that at least one clip holds.

    The same numbers as scikit-learn's ``average_precision_score``, a hundred times as fast on a few
    hundred clips: ``finetune.looks`` asks for thousands of them.

    Args:
        targets: (clips, classes) int64 of 0 and 1.
        probabilities: (clips, classes) float64 in [0, 1].
    """
    (present,) = np.nonzero(targets.any(axis=0))
    return float(np.mean([_average_precision(targets[:, i], probabilities[:, i]) for i in present]))


def _average_precision(targets: Ints, probabilities: Floats) -> float:
    """Precision at every threshold, weighed by the recall that it adds; equal answers share one."""
    order = np.argsort(-probabilities, kind="stable")
    answers, found = probabilities[order], np.cumsum(targets[order])
    last_of_equals = np.flatnonzero(np.append(answers[1:] != answers[:-1], True))
    found_there = found[last_of_equals]
    precision = found_there / (last_of_equals + 1)
    return float(precision @ np.diff(found_there, prepend=0)) / int(found[-1])


def f1_by_class(
    targets: Ints, probabilities: Floats, thresholds: Floats, classes: Sequence[str]
) -> dict[str, float]:
    """F1 of each class that at least one clip holds, by name.

    Args:
        targets: (clips, classes) int64 of 0 and 1.
        probabilities: (clips, classes) float64 in [0, 1].
        thresholds: (classes,) float64.
        classes: names, in the order of the columns.

    Raises:
        ValueError: as ``compute_multilabel_metrics``.
    """
    _refuse_misfits(targets, probabilities, thresholds, classes)
    decided = decide_classes(probabilities, thresholds)
    return {
        name: float(f1_score(targets[:, i], decided[:, i], zero_division=0))
        for i, name in enumerate(classes)
        if targets[:, i].any()
    }


def decide_classes(probabilities: Floats, thresholds: Floats) -> Ints:
    """Which classes are said to be there: those that reach their threshold.

    Args:
        probabilities: (clips, classes) float64.
        thresholds: (classes,) float64, of ``finetune.calibration.choose_thresholds``.

    Returns:
        (clips, classes) int64 of 0 and 1.
    """
    decided: npt.NDArray[np.bool_] = probabilities >= thresholds
    return decided.astype(np.int64)


def _refuse_misfits(
    targets: Ints, probabilities: Floats, thresholds: Floats, classes: Sequence[str]
) -> None:
    shape = (len(targets), len(classes))
    if targets.shape != shape or probabilities.shape != shape or len(thresholds) != len(classes):
        raise ValueError(
            f"expected targets and probabilities (clips, {len(classes)}) and {len(classes)} "
            f"thresholds, got {targets.shape}, {probabilities.shape} and {len(thresholds)}"
        )
    if not np.isin(targets, (0, 1)).all():
        raise ValueError(f"targets must be 0 or 1, got {np.setdiff1d(targets, (0, 1))[0]}")
    if not targets.any():
        raise ValueError(f"none of {len(targets)} clips holds a class: there is nothing to find")
