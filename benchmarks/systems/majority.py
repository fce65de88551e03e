"""Majority: always the most frequent class of the training clips."""

import numpy as np

from benchmarks.systems.base import Floats, LabelledClips, System, UnlabelledClips
from ssl_audio.config import Config


class Majority(System[Config]):
    """What ignoring the audio gives; classes tied for the most frequent share the probability."""

    title = "Majority class"

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Counts the classes."""
        counts = np.bincount(train.labels, minlength=len(self.classes))
        most = counts == counts.max()
        self._probabilities = most / most.sum()

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The same answer for every clip."""
        return np.tile(self._probabilities, (len(clips.waveforms), 1))
