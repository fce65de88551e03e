"""Majority: always the most frequent class of the training clips."""

import numpy as np

from benchmarks.systems.base import Floats, LabelledClips, System, UnlabelledClips
from benchmarks.systems.selection import clips_to_fit
from ssl_audio.config import Config


class Majority(System[Config]):
    """What ignoring the audio gives; of classes equally frequent, the first."""

    title = "Majority class"

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Counts the classes."""
        labels = clips_to_fit(train, validation).labels
        counts = np.bincount(labels, minlength=len(self.classes))
        self._probabilities = np.eye(len(self.classes))[counts.argmax()]

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The same class for every clip, with certainty."""
        return np.tile(self._probabilities, (len(clips.waveforms), 1))
