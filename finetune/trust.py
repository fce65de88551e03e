"""What the validation clips say of a classifier's answers: how sure it may be."""

import numpy as np
import numpy.typing as npt

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
    targets = labels.encode([corpus.clips[index] for index in validation]).astype(np.float64)
    raw = predict_clips(classifier, corpus, validation)
    with np.errstate(divide="ignore"):
        if not classifier.head.exclusive:
            config.temperature = fit_sigmoid_temperature(np.log(raw) - np.log1p(-raw), targets)
            tempered = temper_sigmoid(raw, config.temperature)
            config.thresholds = tuple(choose_thresholds(tempered, targets).tolist())
            return
        config.temperature = fit_temperature(np.log(raw), targets)
    if wanted_accuracy is not None:
        tempered = temper(raw, config.temperature)
        least = choose_confidence(targets.argmax(1), tempered, wanted_accuracy)
        config.unsure_below = NEVER_SURE if least is None else least
