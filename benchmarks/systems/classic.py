"""A feature set and a classifier: together they are a classic system."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from benchmarks.systems.base import (
    Floats,
    Int16,
    LabelledClips,
    System,
    UnlabelledClips,
    spread,
)
from benchmarks.systems.feature_cache import FeatureCache
from benchmarks.systems.selection import choose_and_fit
from ssl_audio.config import Config

Candidates = Annotated[
    tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)
]
"""Values of a setting above 0, for the clips inside the fold to choose among."""


class FeatureSet(Config, ABC):
    """What is measured of each clip, and its settings."""

    @abstractmethod
    def extract(self, waveforms: Sequence[Int16], cache: FeatureCache) -> Floats:
        """(clips, features) float64 of what each clip alone sounds like."""

    def refuse_missing_package(self) -> None:
        """Refuses what can't be extracted here.

        Raises:
            UserError: with what to install.
        """


class Classifier(Config, ABC):
    """What learns from features, and its settings."""

    @abstractmethod
    def build_candidates(self, seed: int) -> list[Pipeline]:
        """Pipelines, not fitted, for the clips inside the fold to choose among; simplest first."""

    def calibrate(
        self,
        model: Pipeline,
        features: Floats,
        labels: npt.NDArray[np.int64],
        speakers: Sequence[str | None],
    ) -> Pipeline:
        """The fitted model with the probabilities that it answers with; its decisions stay.

        Args:
            model: the chosen one, fitted to the clips that follow.
            features: (clips, features) float64.
            labels: (clips,) int64.
            speakers: per clip; None where unknown.
        """
        return model

    def count_weights(self, model: Pipeline) -> int | None:
        """Fitted numbers that the model needs to answer; None where the count means nothing."""
        return None


class ClassicSettings(Config):
    """Settings of a row; its subclasses say which feature set and which classifier."""

    features: FeatureSet
    classifier: Classifier


@dataclass(frozen=True)
class _Fitted:
    pipeline: Pipeline
    clips: LabelledClips


class ClassicSystem(System[ClassicSettings]):
    """Any feature set, any classifier; what the classifier leaves open is chosen in the fold."""

    @classmethod
    def check(cls, settings: ClassicSettings) -> None:
        """Refuses features whose package is not installed.

        Raises:
            UserError: with what to install.
        """
        settings.features.refuse_missing_package()

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Chooses among the classifier's candidates by UAR on speakers that they did not hear."""
        classifier = self.settings.classifier
        candidates = classifier.build_candidates(self.seed)
        chosen = choose_and_fit(candidates, self._fit, self._answer, train, validation)
        clips = chosen.clips
        features = self._extract(clips.waveforms)
        self._model = classifier.calibrate(chosen.pipeline, features, clips.labels, clips.speakers)

    @property
    def parameters(self) -> int | None:
        """As the classifier counts them."""
        return self.settings.classifier.count_weights(self._model)

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The classifier's probabilities."""
        return self._spread(self._model, clips.waveforms)

    def _fit(self, candidate: Pipeline, clips: LabelledClips) -> _Fitted:
        pipeline = clone(candidate).fit(self._extract(clips.waveforms), clips.labels)
        return _Fitted(pipeline, clips)

    def _answer(self, model: _Fitted, waveforms: Sequence[Int16]) -> Floats:
        return self._spread(model.pipeline, waveforms)

    def _spread(self, pipeline: Pipeline, waveforms: Sequence[Int16]) -> Floats:
        probabilities = pipeline.predict_proba(self._extract(waveforms))
        return spread(probabilities, pipeline.classes_, len(self.classes))

    def _extract(self, waveforms: Sequence[Int16]) -> Floats:
        return self.settings.features.extract(waveforms, self.cache)
