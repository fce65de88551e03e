"""Several channels to one."""

from typing import Any

import numpy as np

CANCELLED = 1e-4
"""Power of the mean over that of the loudest channel, -40 dB, under which channels cancel out."""

AS_LOUD = 0.999
"""Of the greatest power: rounding may part channels that are equal, of which the first is taken."""


class Mixer:
    """The mean of the channels of a file, or its loudest one if they cancel each other out.

    The first samples that are not silent decide, for the whole file.
    """

    def __init__(self) -> None:
        """Undecided."""
        self._decided = False
        self._chosen: int | None = None

    def mix(self, channels: Any) -> Any:
        """(frames,) float32 or float64.

        Args:
            channels: (frames, channels) float32 in [-1, 1], of the file's next samples.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean = channels.mean(axis=1)
            if not self._decided and channels.any():
                self._decide(channels, mean)
        return mean if self._chosen is None else channels[:, self._chosen]

    def _decide(self, channels: Any, mean: Any) -> None:
        powers = np.square(channels).mean(axis=0)
        loudest = int((powers >= AS_LOUD * powers.max()).argmax())
        self._decided = True
        if np.square(mean).mean() < CANCELLED * powers[loudest]:
            self._chosen = loudest
