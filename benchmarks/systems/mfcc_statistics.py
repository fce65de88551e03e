"""MFCC statistics + logistic regression: the classic features, with an honest classifier."""

from collections.abc import Sequence

import numpy as np

from benchmarks.systems.base import Floats, Int16, to_float
from benchmarks.systems.linear import LinearSettings, LinearSystem
from ssl_audio.data.manifest import SAMPLE_RATE


class MfccStatisticsSettings(LinearSettings):
    """Settings of the features and the classifier."""

    num_mfcc: int = 40


class MfccStatistics(LinearSystem[MfccStatisticsSettings]):
    """Mean and standard deviation over time of each MFCC, scaled, into a linear model."""

    title = "MFCC statistics + logistic regression"
    settings_type = MfccStatisticsSettings

    def features(self, waveforms: Sequence[Int16]) -> Floats:
        """(clips, 2 * num_mfcc) float64."""
        return self.cache.extract(waveforms, mfcc_statistics, num_mfcc=self.settings.num_mfcc)


def mfcc_statistics(waveform: Int16, num_mfcc: int) -> Floats:
    """Mean and standard deviation over time of librosa's MFCCs, with its default windows.

    Args:
        waveform: (samples,) int16 at 16 kHz.
        num_mfcc: number of coefficients.

    Returns:
        (2 * num_mfcc,) float64: the means, then the deviations.
    """
    import librosa

    samples = to_float(waveform, at_least=2048)
    mfcc = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=num_mfcc)
    return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)]).astype(np.float64)
