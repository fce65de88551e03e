"""Log-mel statistics + logistic regression: the simplest system that listens."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from benchmarks.systems.base import Floats, Int16, to_float
from benchmarks.systems.classic import ClassicSettings, ClassicSystem, FeatureSet
from benchmarks.systems.feature_cache import FeatureCache
from benchmarks.systems.logistic_regression import LogisticRegressionClassifier
from ssl_audio.data.manifest import SAMPLE_RATE


class LogMelStatistics(FeatureSet):
    """Mean and standard deviation over time of each log-mel band."""

    num_mels: int = Field(default=64, gt=0, lt=190)
    """Of 190, the lowest would be too narrow to hold a frequency of the transform."""

    def extract(self, waveforms: Sequence[Int16], cache: FeatureCache) -> Floats:
        """(clips, 2 * num_mels) float64."""
        return cache.extract(waveforms, log_mel_statistics, num_mels=self.num_mels)


class LogMelLogisticSettings(ClassicSettings):
    """Settings of the features and the classifier."""

    features: LogMelStatistics = LogMelStatistics()
    classifier: LogisticRegressionClassifier = LogisticRegressionClassifier()


class LogMelLogistic(ClassicSystem):
    """Log-mel statistics into a linear model."""

    title = "Log-mel statistics + logistic regression"
    settings_type = LogMelLogisticSettings


def log_mel_statistics(waveform: Int16, num_mels: int) -> Floats:
    """Mean and standard deviation over time of each band in dB.

    Windows of 25 ms every 10 ms, bands from 50 Hz to 8 kHz; computed by librosa, so that this
    system shares no code with the encoder's front end.

    Args:
        waveform: (samples,) int16 at 16 kHz.
        num_mels: number of bands.

    Returns:
        (2 * num_mels,) float64: the means, then the deviations.
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=to_float(waveform, at_least=512),
        sr=SAMPLE_RATE,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=num_mels,
        fmin=50,
        fmax=8000,
    )
    log_mel = librosa.power_to_db(power, top_db=None)
    return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)]).astype(np.float64)
