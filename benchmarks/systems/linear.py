"""A linear model on statistics of a clip, for any statistics."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.systems.base import (
    Floats,
    Int16,
    LabelledClips,
    System,
    UnlabelledClips,
    spread,
)
from benchmarks.systems.selection import choose_and_fit
from ssl_audio.config import Config


class LinearSettings(Config):
    """Settings of the classifier."""

    inverse_penalties: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Candidates for scikit-learn's C; the validation clips choose among them by UAR."""


LinearSettingsType = TypeVar("LinearSettingsType", bound=LinearSettings)


class LinearSystem(System[LinearSettingsType]):
    """Logistic regression on scaled features; the features are the subclass's."""

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Fits one model for each penalty; the fold's validation chooses among them."""
        penalties = self.settings.inverse_penalties
        self._model = choose_and_fit(penalties, self._fit, self._answer, train, validation)

    @property
    def parameters(self) -> int | None:
        """Weights and biases of the linear model."""
        regression = self._model[-1]
        return int(regression.coef_.size + regression.intercept_.size)

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The linear model's softmax."""
        return self._answer(self._model, clips.waveforms)

    @abstractmethod
    def features(self, waveforms: Sequence[Int16]) -> Floats:
        """(clips, features) float64 of what each clip alone sounds like."""

    def _fit(self, inverse_penalty: float, clips: LabelledClips) -> Pipeline:
        regression = LogisticRegression(C=inverse_penalty, max_iter=5000)
        model: Pipeline = make_pipeline(StandardScaler(), regression)
        return model.fit(self.features(clips.waveforms), clips.labels)

    def _answer(self, model: Pipeline, waveforms: Sequence[Int16]) -> Floats:
        probabilities = model.predict_proba(self.features(waveforms))
        return spread(probabilities, model[-1].classes_, len(self.classes))
