"""MFCC statistics: the classic features, with three honest classifiers."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from benchmarks.systems.base import Floats, Int16, to_float
from benchmarks.systems.classic import ClassicSettings, ClassicSystem, FeatureSet
from benchmarks.systems.feature_cache import FeatureCache
from benchmarks.systems.logistic_regression import LogisticRegressionClassifier
from benchmarks.systems.random_forest import RandomForest
from benchmarks.systems.support_vectors import RbfSupportVectors
from ssl_audio.data.manifest import SAMPLE_RATE


class MfccStatistics(FeatureSet):
    """Mean and standard deviation over time of each MFCC."""

    num_mfcc: int = Field(default=40, gt=0, le=128)
    """At most as many as librosa's mel bands, which are 128."""

    def extract(self, waveforms: Sequence[Int16], cache: FeatureCache) -> Floats:
        """(clips, 2 * num_mfcc) float64."""
        return cache.extract(waveforms, mfcc_statistics, num_mfcc=self.num_mfcc)


class MfccLogisticSettings(ClassicSettings):
    """Settings of the features and the classifier."""

    features: MfccStatistics = MfccStatistics()
    classifier: LogisticRegressionClassifier = LogisticRegressionClassifier()


class MfccLogistic(ClassicSystem):
    """MFCC statistics into a linear model."""

    title = "MFCC statistics + logistic regression"
    settings_type = MfccLogisticSettings


class MfccSvmSettings(ClassicSettings):
    """Settings of the features and the classifier."""

    features: MfccStatistics = MfccStatistics()
    classifier: RbfSupportVectors = RbfSupportVectors()


class MfccSvm(ClassicSystem):
    """MFCC statistics into support vectors; penalty and width are chosen in the fold."""

    title = "MFCC statistics + SVM"
    settings_type = MfccSvmSettings


class MfccRandomForestSettings(ClassicSettings):
    """Settings of the features and the classifier."""

    features: MfccStatistics = MfccStatistics()
    classifier: RandomForest = RandomForest()


class MfccRandomForest(ClassicSystem):
    """MFCC statistics into trees; nothing is chosen."""

    title = "MFCC statistics + random forest"
    settings_type = MfccRandomForestSettings


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
