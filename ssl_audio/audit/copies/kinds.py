"""What two recordings with the same waveform in them are to each other."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.copies.alignment import SAME_SOUND, Alignment, align
from ssl_audio.data.manifest import SAMPLE_RATE

Float = npt.NDArray[np.float32]
CopyKind = Literal[
    "near_identical_audio", "augmented_copies", "split_parent", "possible_split_parent"
]
"""The last are neighbouring pieces that are likely but not sure to be of one recording."""

_TRIMMED = round(0.55 * SAMPLE_RATE)
"""Samples that a copy may lack at either end."""
_STAGGER = SAMPLE_RATE // 20
"""Samples by which two recordings must reach beyond each other to be windows of a third."""
_QUIET_DB = -40.0
"""Below the loudest frame: padding, or a pause."""
_NEARLY_SAME = 0.9
_LIGHT_NOISE_DB = 12.0
"""Signal to added noise; what is noisier was meant to be another clip."""
_FRAME = SAMPLE_RATE // 100


def tell_kind(first: Float, second: Float, found: Alignment) -> tuple[CopyKind, str] | None:
    """The kind of copy and what was measured; None if they are different recordings.

    Args:
        first: (samples,) float32 at 16 kHz.
        second: likewise.
        found: how they lie on each other best.
    """
    if found.correlation < SAME_SOUND:
        return None
    measured = f"correlation {found.correlation:.3f} at a lag of {found.lag} samples"
    before, after = _sound_beyond(first, second, found.lag)
    staggered = min(max(before), max(after)) > _STAGGER and (before[0] > 0) != (after[0] > 0)
    if staggered or max(*before, *after) > _TRIMMED:
        if _is_rolled(first, second, found.lag):
            return "augmented_copies", f"rolled by {abs(found.lag)} samples, {measured}"
        return "split_parent", f"one holds part of the other, {measured}"
    noisy = found.additive and found.snr_db < _LIGHT_NOISE_DB
    if noisy or found.correlation < _NEARLY_SAME:
        return "augmented_copies", f"{measured}, signal to difference {found.snr_db:.0f} dB"
    return "near_identical_audio", measured


def _sound_beyond(first: Float, second: Float, lag: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Samples of sound, not of silence, of each one before the other begins and after it ends."""
    end = len(first) - len(second) - lag
    before = _sounding(first[: max(lag, 0)], first), _sounding(second[: max(-lag, 0)], second)
    after = (
        _sounding(first[len(first) - max(end, 0) :], first),
        _sounding(second[len(second) - max(-end, 0) :], second),
    )
    return before, after


def _sounding(part: Float, whole: Float) -> int:
    """Length of a part without the quiet at its ends, samples."""
    loud = np.nonzero(_levels_db(part) > _levels_db(whole).max(initial=-200.0) + _QUIET_DB)[0]
    return int(loud[-1] - loud[0] + 1) * _FRAME if len(loud) else 0


def _levels_db(waveform: Float) -> Float:
    count = len(waveform) // _FRAME
    power = np.square(waveform[: count * _FRAME].reshape(count, _FRAME)).mean(axis=1)
    levels: Float = 10 * np.log10(power + 1e-12)
    return levels


def _is_rolled(first: Float, second: Float, lag: int) -> bool:
    """Whether what one lacks at its beginning is at its end."""
    if len(first) != len(second):
        return False
    found = align(first, np.roll(second, lag), 0)
    return found is not None and found.correlation >= SAME_SOUND
