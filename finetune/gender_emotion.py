"""What a joint decision on gender and emotion says of each alone. Imports no torch."""

from collections.abc import Callable, Sequence

import numpy as np

from finetune import metrics
from finetune.metrics import Floats

Score = Callable[[Floats], Floats]

LOWEST = {"gender_gap": -1.0}
"""The least that a score can be, where that is not 0."""


def joint_scores(classes: Sequence[str]) -> dict[str, Score]:
    """Scores of a confusion matrix of joint classes.

    ``gender_accuracy`` is that of the gender alone, ``emotion_uar`` the unweighted average recall
    of the emotion alone, whatever gender was decided with it, and ``gender_gap`` the latter of the
    women's clips minus that of the men's, in [-1, 1]; NaN where one of them has none.

    Args:
        classes: each ``gender_emotion``, in the order of the matrix.
    """
    genders, emotions = zip(*(name.split("_", 1) for name in classes), strict=True)
    of_gender, of_emotion = _membership(genders), _membership(emotions)
    women = np.array([gender == "female" for gender in genders], dtype=np.float64)[:, None]

    def gender_accuracy(confusion: Floats) -> Floats:
        return metrics.wa(of_gender.T @ confusion @ of_gender)

    def emotion_uar(confusion: Floats) -> Floats:
        recalls = metrics.recalls(of_emotion.T @ confusion @ of_emotion)
        with np.errstate(invalid="ignore"):
            return np.nansum(recalls, axis=-1) / np.isfinite(recalls).sum(axis=-1)

    def gender_gap(confusion: Floats) -> Floats:
        return emotion_uar(confusion * women) - emotion_uar(confusion * (1 - women))

    return {
        "gender_accuracy": gender_accuracy,
        "emotion_uar": emotion_uar,
        "gender_gap": gender_gap,
    }


def _membership(groups: Sequence[str]) -> Floats:
    """(classes, groups): 1 where a class is of a group."""
    _, number = np.unique(groups, return_inverse=True)
    return np.eye(number.max() + 1)[number]
