"""Chance: every class is as probable as any other."""

import numpy as np

from benchmarks.systems.base import Floats, LabelledClips, System, UnlabelledClips
from ssl_audio.config import Config


class Chance(System[Config]):
    """What guessing gives."""

    title = "Chance"

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Learns nothing."""

    def predict(self, clips: UnlabelledClips) -> Floats:
        """Uniform probabilities."""
        return np.full((len(clips.waveforms), len(self.classes)), 1 / len(self.classes))
