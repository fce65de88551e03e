"""40 MFCC averaged over time + XGBoost: the classic of public RAVDESS notebooks, made honest.

The public original resamples the minority classes before it splits, and splits at random; here
SMOTE sees the training clips of the fold only. It also gives both ``learning_rate=0.01`` and
``eta=0.1``, two names of one parameter: the booster uses 0.01 then, whatever their order (read from
the saved configuration of xgboost 3.2). The value here is 0.1, the other one that its author
gives, chosen before any result was seen; a recipe can set 0.01.

A prototype reached UAR 60 with a random split of RAVDESS speech. ``random5-LEAKY`` gives 58.2: its
folds keep a fifth of the clips for validation and leave two thirds for training. Trained on the
validation clips too (four fifths, as is usual), tested on the same clips: 62.6. Three other random
splits gave 60.7, 58.8 and 59.1 with two thirds, 62.0, 62.0 and 62.7 with four fifths.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from benchmarks.systems.base import (
    Floats,
    Int16,
    LabelledClips,
    System,
    UnlabelledClips,
    spread,
    to_float,
)
from benchmarks.systems.selection import clips_to_fit
from ssl_audio.config import Config
from ssl_audio.data.manifest import SAMPLE_RATE


class MfccXgboostSettings(Config):
    """The original's settings; names are xgboost's and imbalanced-learn's."""

    num_mfcc: int = Field(default=40, gt=0, le=128)
    max_depth: int = Field(default=7, ge=0)
    """0 is without limit."""
    gamma: float = Field(default=0.01, ge=0)
    n_estimators: int = Field(default=200, gt=0)
    learning_rate: float = Field(default=0.1, gt=0)
    subsample: float = Field(default=0.8, gt=0, le=1)
    smote_neighbors: int = Field(default=1, ge=0)
    """0 leaves the classes as they are."""
    num_threads: int = Field(default=1, gt=0)
    """A tree grows in milliseconds: a second thread saves little, and on a busy machine its waiting
    for the first costs ten times what it saves."""


class MfccXgboost(System[MfccXgboostSettings]):
    """Boosted trees on the mean MFCC vector of a clip."""

    title = "MFCC + XGBoost"
    settings_type = MfccXgboostSettings

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Balances the training clips and grows the trees; chooses nothing."""
        from xgboost import XGBClassifier

        clips = clips_to_fit(train, validation)
        features, labels = self._balance(self._features(clips.waveforms), clips.labels)
        self._present, labels = np.unique(labels, return_inverse=True)
        settings = self.settings
        self._model = XGBClassifier(
            max_depth=settings.max_depth,
            gamma=settings.gamma,
            n_estimators=settings.n_estimators,
            learning_rate=settings.learning_rate,
            subsample=settings.subsample,
            random_state=self.seed,
            n_jobs=settings.num_threads,
        )
        self._model.fit(features, labels)

    def predict(self, clips: UnlabelledClips) -> Floats:
        """Softmax over the trees' sums."""
        answer = self._model.predict_proba(self._features(clips.waveforms)).astype(np.float64)
        answer /= answer.sum(axis=1, keepdims=True)  # float32 sums are off by up to 1e-7
        return spread(answer, self._present, len(self.classes))

    def _balance(
        self, features: Floats, labels: npt.NDArray[np.int64]
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """SMOTE up to the largest class; a class too small to interpolate in stays as it is."""
        from imblearn.over_sampling import SMOTE

        neighbors = self.settings.smote_neighbors
        present, counts = np.unique(labels, return_counts=True)
        wanted = {
            label: counts.max()
            for label, count in zip(present, counts, strict=True)
            if neighbors < count < counts.max()
        }
        if neighbors == 0 or not wanted:
            return features, labels
        smote = SMOTE(sampling_strategy=wanted, k_neighbors=neighbors, random_state=self.seed)
        resampled: tuple[Floats, npt.NDArray[np.int64]] = smote.fit_resample(features, labels)
        return resampled

    def _features(self, waveforms: Sequence[Int16]) -> Floats:
        return self.cache.extract(waveforms, mfcc_means, num_mfcc=self.settings.num_mfcc)


def mfcc_means(waveform: Int16, num_mfcc: int) -> Floats:
    """Mean over time of librosa's MFCCs, with its default windows (2048 samples every 512).

    Args:
        waveform: (samples,) int16 at 16 kHz.
        num_mfcc: number of coefficients.

    Returns:
        (num_mfcc,) float64.
    """
    import librosa

    samples = to_float(waveform, at_least=2048)
    mfcc = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=num_mfcc)
    return mfcc.mean(axis=1).astype(np.float64)
