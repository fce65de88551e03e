"""The moments of a phrase, and the windows that are judged for them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of one phrase.

    Attributes:
        edges: (moments, 2) int64 samples, without gap or overlap.
        windows: (windows, 2) int64 samples.
        first: (moments,) int64, the first window in which each moment lies.
        last: (moments,) int64, the last one.
    """

    edges: Int64
    windows: Int64
    first: Int64
    last: Int64

    def average(self, judged: npt.NDArray[np.floating]) -> Float64:
        """(windows, classes) to (moments, classes), the mean over each moment's windows."""
        sums = np.concatenate([np.zeros((1, judged.shape[1])), judged.cumsum(0, dtype=np.float64)])
        mean: Float64 = sums[self.last + 1] - sums[self.first]
        return mean / (self.last + 1 - self.first)[:, None]


def place_moments(start: int, end: int, window: int, hop: int, longest: int) -> Moments:
    """Moments and windows from one sample to another; the last ones may be shorter.

    Args:
        start: first sample of the phrase.
        end: the one after its last.
        window: samples of a window.
        hop: samples of a moment, and from one window to the next.
        longest: a phrase of so many samples is one moment, judged whole.
    """
    if end - start <= longest:
        window = hop = end - start
    places = np.arange(start, end, hop)
    num_windows = 1 + max(0, -(-(end - start - window) // hop))
    windows = places[:num_windows]
    # A moment is in the windows that begin no later and end after the moment's start.
    numbers = np.arange(len(places))
    return Moments(
        edges=np.stack([places, np.minimum(places + hop, end)], axis=1),
        windows=np.stack([windows, np.minimum(windows + window, end)], axis=1),
        first=np.maximum(numbers + 1 - -(-window // hop), 0),
        last=np.minimum(numbers, num_windows - 1),
    )
