"""Log-mel statistics + logistic regression: the simplest system that listens."""

from collections.abc import Sequence

import numpy as np
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
    to_float,
)
from finetune import metrics
from ssl_audio.config import Config
from ssl_audio.data.manifest import SAMPLE_RATE


class LogMelStatisticsSettings(Config):
    """Settings of the features and the classifier."""

    num_mels: int = 64
    inverse_penalties: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Candidates for scikit-learn's C; the validation clips choose among them by UAR."""


class LogMelStatistics(System[LogMelStatisticsSettings]):
    """Mean and standard deviation over time of each log-mel band, scaled, into a linear model."""

    title = "Log-mel statistics + logistic regression"
    settings_type = LogMelStatisticsSettings

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Fits one model for each penalty and keeps the best on the validation clips."""
        features = self._features(train.waveforms)
        best = -1.0
        for inverse_penalty in self.settings.inverse_penalties:
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=5000)
            )
            model.fit(features, train.labels)
            answer = self._answer(model, validation.waveforms)
            score = float(metrics.uar(metrics.confusion_matrix(validation.labels, answer)))
            if score > best:
                best, self._model = score, model

    @property
    def parameters(self) -> int | None:
        """Weights and biases of the linear model."""
        regression = self._model[-1]
        return int(regression.coef_.size + regression.intercept_.size)

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The linear model's softmax."""
        return self._answer(self._model, clips.waveforms)

    def _answer(self, model: Pipeline, waveforms: Sequence[Int16]) -> Floats:
        probabilities = model.predict_proba(self._features(waveforms))
        return spread(probabilities, model[-1].classes_, len(self.classes))

    def _features(self, waveforms: Sequence[Int16]) -> Floats:
        return self.cache.extract(waveforms, log_mel_statistics, num_mels=self.settings.num_mels)


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
