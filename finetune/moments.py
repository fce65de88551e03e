"""The moments of a phrase, and the windows that are judged for them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ssl_audio.config import Config

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class TimelineConfig(Config):
    """How a classifier is asked what is heard when; it learns the same whatever this is.

    Attributes:
        pause_seconds: silence that parts what is judged together; None parts nothing.
        phrase_seconds: what is said between two pauses is judged whole, as one moment, if it lasts
            no longer.
        moment_seconds: of a longer phrase, which is judged window by window; a moment is no longer
            than a window.
    """

    pause_seconds: float | None = Field(default=0.5, gt=0)
    phrase_seconds: float = Field(default=5.0, ge=0, le=30)
    moment_seconds: float = Field(default=0.25, ge=0.05, le=30)


@dataclass(frozen=True)
class Moments:
    """Of one phrase.

    Attributes:
        edges: (moments, 2) int64 samples, without gap or overlap.
        windows: (windows, 2) int64 samples.
        first: (moments,) int64, the first window that holds each moment's start.
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
        longest: a phrase of at most so many samples is one moment, judged whole.

    Raises:
        ValueError: a phrase without samples.
    """
    if end <= start:
        raise ValueError(f"expected a phrase of one sample at least, got {start} to {end}")
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
