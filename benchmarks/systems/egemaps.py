"""eGeMAPS: the 88 parameters that voice research agreed on, by openSMILE (an optional extra).

Source: Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research
and Affective Computing", IEEE Transactions on Affective Computing 7(2), 2016; set eGeMAPSv02.
"""

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.systems.base import Floats, Int16, to_float
from benchmarks.systems.classic import ClassicSettings, ClassicSystem, FeatureSet
from benchmarks.systems.feature_cache import FeatureCache
from benchmarks.systems.logistic_regression import LogisticRegressionClassifier
from benchmarks.systems.support_vectors import LinearSupportVectors
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.errors import UserError

SHORTEST_SAMPLES = 960
"""60 ms, the window of the pitch; of less openSMILE gives nothing."""


class Egemaps(FeatureSet):
    """The functionals of eGeMAPSv02."""

    def extract(self, waveforms: Sequence[Int16], cache: FeatureCache) -> Floats:
        """(clips, 88) float64."""
        return cache.extract(waveforms, egemaps_functionals)

    def refuse_missing_package(self) -> None:
        """Refuses to go on without openSMILE.

        Raises:
            UserError: with what to install, and its licence.
        """
        if find_spec("opensmile") is None:
            raise UserError(
                'eGeMAPS needs openSMILE: pip install "ssl-audio[egemaps]" (its licence allows '
                "research and private use only), or leave the row out"
            )


class EgemapsLogisticSettings(ClassicSettings):
    """Settings of the classifier; the features have none."""

    features: Egemaps = Egemaps()
    classifier: LogisticRegressionClassifier = LogisticRegressionClassifier()


class EgemapsLogistic(ClassicSystem):
    """eGeMAPS into a linear model."""

    title = "eGeMAPS + logistic regression"
    settings_type = EgemapsLogisticSettings


class EgemapsSvmSettings(ClassicSettings):
    """Settings of the classifier; the features have none."""

    features: Egemaps = Egemaps()
    classifier: LinearSupportVectors = LinearSupportVectors()


class EgemapsSvm(ClassicSystem):
    """eGeMAPS into support vectors with a linear kernel, as it was published."""

    title = "eGeMAPS + linear SVM"
    settings_type = EgemapsSvmSettings


def egemaps_functionals(waveform: Int16) -> Floats:
    """The 88 functionals of eGeMAPSv02 over the whole clip.

    Args:
        waveform: (samples,) int16 at 16 kHz; one under 60 ms is completed with zeros.

    Returns:
        (88,) float64 in openSMILE's order and units.
    """
    samples = to_float(waveform, at_least=SHORTEST_SAMPLES)
    return np.asarray(_load_extractor()(samples, SAMPLE_RATE), np.float64).reshape(-1)


@functools.cache
def _load_extractor() -> Any:
    import opensmile

    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
