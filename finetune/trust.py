"""What the validation clips say of a classifier's answers: how sure it may be."""

import numpy as np
import numpy.typing as npt
import torch

from finetune.calibration import (
    choose_confidence,
    choose_thresholds,
    fit_sigmoid_temperature,
    fit_temperature,
    temper,
    temper_sigmoid,
)
from finetune.evaluate import predict_clips
from finetune.labels import LabelSpace
from finetune.model import AudioClassifier
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.objectives.base import to_float

NEVER_SURE = 2.0
"""Above any probability: no confidence was high enough."""


def calibrate(
    classifier: AudioClassifier,
    corpus: PreparedCorpus,
    validation: npt.NDArray[np.int64],
    labels: LabelSpace,
    wanted_accuracy: float | None,
) -> None:
    """Sets temperature, thresholds and the least confidence of a classifier that has none yet.

    Args:
        classifier: in eval mode.
        corpus: prepared.
        validation: (clips,) int64 positions in the corpus.
        labels: the classes.
        wanted_accuracy: of the answered validation clips; None answers always.
    """
    config = classifier.config
    truth = labels.encode([corpus.clips[index] for index in validation]).astype(np.float64)
    targets = soften(truth, classifier.head.exclusive)
    raw = predict_clips(classifier, corpus, validation)
    with np.errstate(divide="ignore"):
        if not classifier.head.exclusive:
            config.temperature = fit_sigmoid_temperature(np.log(raw) - np.log1p(-raw), targets)
            tempered = temper_sigmoid(raw, config.temperature)
            config.thresholds = tuple(choose_thresholds(tempered, truth).tolist())
            heard = hear_most(classifier, corpus, validation)
            config.moment_thresholds = tuple(choose_thresholds(heard, truth).tolist())
            return
        config.temperature = fit_temperature(np.log(raw), targets)
    if wanted_accuracy is not None:
        tempered = temper(raw, config.temperature)
        least = choose_confidence(truth.argmax(1), tempered, wanted_accuracy)
        config.unsure_below = NEVER_SURE if least is None else least


@torch.no_grad()
def hear_most(
    classifier: AudioClassifier, corpus: PreparedCorpus, indices: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(clips, classes) the greatest probability of each class at any moment of each clip.

    A threshold on it says whether the class is heard in the clip at all, which the clip's own
    labels can be compared with: nobody has to say when.
    """
    most = []
    for index in indices:
        samples = torch.from_numpy(corpus.views[index].copy()).to(classifier.device)
        most.append(classifier.probabilities_over_time(to_float(samples)).probabilities.max(0))
    return np.array(most, dtype=np.float64)


def soften(targets: npt.NDArray[np.float64], exclusive: bool) -> npt.NDArray[np.float64]:
    """(clips, classes) targets as if each class had one more clip of every answer.

    Few validation clips that are all decided rightly would otherwise make a classifier boundlessly
    sure of itself.

    Args:
        targets: (clips, classes) float64 in [0, 1].
        exclusive: exactly one class is right.

    Source: Platt 1999, "Probabilistic outputs for support vector machines", section 2.2.
    """
    num_clips, num_answers = len(targets), targets.shape[1] if exclusive else 2
    return (num_clips * targets + 1) / (num_clips + num_answers)
