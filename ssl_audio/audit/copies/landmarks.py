"""Landmarks of a recording: pairs of spectral peaks, which survive codecs, noise, level and cuts.

Source: Wang 2003, "An Industrial-Strength Audio Search Algorithm", sections 2.1 and 2.2. We keep
half the band (0 to 4 kHz), as codecs at low rates keep no more of it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import maximum_filter
from scipy.signal import get_window

from ssl_audio.data.manifest import SAMPLE_RATE

Float = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

NARROW_RATE = SAMPLE_RATE // 2
"""Hz of the waveforms that landmarks are found in."""
HOP = 64
"""Samples from frame to frame, 8 ms."""

_WINDOW = get_window("hann", 256).astype(np.float32)
_LOWEST_BIN = 4
"""125 Hz: below lie hum and rumble."""
_NEIGHBOURHOOD = 9
"""Frames and bins around a peak that hold no higher one."""
_BELOW_LOUDEST = 8.0
"""Nats of magnitude, 70 dB: what is quieter is no peak."""
_PEAKS_PER_SECOND = 20
_FEWEST_PEAKS = 8
_FAN_OUT = 5
"""Pairs per peak, with the next ones in time."""
_FRAMES_APART = range(2, 64)
_MOST_BINS_APART = 47
_TIME_STEP = 2
"""Frames that count as equally far apart, as the frames of a cut copy lie between ours."""


class Landmarks(NamedTuple):
    """Of one recording, in order of time."""

    keys: Int32
    """(landmarks,) frequency of the first peak, way to the second one in frequency and time."""
    frames: Int32
    """(landmarks,) frame of the first peak."""


def find_landmarks(narrow: Float) -> Landmarks:
    """The landmarks of a recording.

    Args:
        narrow: (samples,) float32 at ``NARROW_RATE``.
    """
    frames, bins = _find_peaks(narrow)
    starts, keys = [], []
    for step in range(1, _FAN_OUT + 1):
        apart = frames[step:] - frames[:-step]
        above = bins[step:] - bins[:-step]
        near = (np.abs(above) <= _MOST_BINS_APART) & (apart >= _FRAMES_APART.start)
        near &= apart < _FRAMES_APART.stop
        way = (above + _MOST_BINS_APART) * _FRAMES_APART.stop + apart // _TIME_STEP
        span = (2 * _MOST_BINS_APART + 1) * _FRAMES_APART.stop
        keys.append((bins[:-step] * span + way)[near])
        starts.append(frames[:-step][near])
    return Landmarks(np.concatenate(keys).astype(np.int32), np.concatenate(starts).astype(np.int32))


def _find_peaks(narrow: Float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Frames and bins of the loudest local maxima, in order of time."""
    padded = np.pad(narrow, (0, max(0, len(_WINDOW) - len(narrow))))
    cut = np.lib.stride_tricks.sliding_window_view(padded, len(_WINDOW))[::HOP]
    spectrum = np.abs(scipy.fft.rfft(cut * _WINDOW, axis=1))[:, _LOWEST_BIN:-1]
    level = np.log(spectrum + np.float32(1e-9))
    highest = maximum_filter(level, _NEIGHBOURHOOD, mode="nearest")
    frames, bins = np.nonzero((level == highest) & (level > level.max() - _BELOW_LOUDEST))
    most = max(_FEWEST_PEAKS, round(_PEAKS_PER_SECOND * len(narrow) / NARROW_RATE))
    loudest = np.argsort(-level[frames, bins], kind="stable")[:most]
    frames, bins = frames[loudest], bins[loudest]
    order = np.lexsort((bins, frames))
    return frames[order], bins[order]
