"""Random numbers as a pure function of what they are for.

Every draw depends on (seed, pass, clip index, stream, view) and on nothing else: not on the
process, the worker, the batch or what was drawn before. So a stream of samples is the same for any
number of workers and processes and resumes exactly, and it is computed batched on any device.

Source: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), chained over the key's parts.
"""

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Stream(IntEnum):
    """What a draw is for; one number each so that no two uses share random numbers."""

    ORDER = 1
    CROP = 2
    MASK = 3
    VIEW = 4
    LEVEL = 5
    NOISE = 6
    SPEED = 7
    BACKGROUND = 8
    BACKGROUND_LEVEL = 9
    SHIFT = 10
    WINDOW = 11
    PREDICTED = 12
    TIME_MASK = 20
    FREQ_MASK = 21
    PITCH = 22
    STRETCH = 23
    PARTNER = 24
    MIX = 25
    MIX_SHARE = 26
    TIME_BAND = 27
    FREQ_BAND = 28


def draw_keys(seed: int, passes: Tensor, clip_indices: Tensor) -> Tensor:
    """One key per drawn clip.

    Args:
        seed: of the run.
        passes: (batch,) int64, how often the corpus was gone through before.
        clip_indices: (batch,) int64, position of the clip in its corpus.

    Returns:
        (batch,) int64 key for ``uniform``.
    """
    return _mix(_mix(_mix(torch.full_like(passes, seed)) + passes) + clip_indices)


def view_keys(keys: Tensor, view: int) -> Tensor:
    """(batch,) int64 keys of one view of each clip, as if it were a clip of its own."""
    return _mix(_mix(keys + int(Stream.VIEW)) + view)


def uniform(keys: Tensor, stream: Stream, count: int, view: int = 0) -> Tensor:
    """(batch, count) float32 uniform in [0, 1) for (batch,) int64 keys, on the keys' device."""
    base = _mix(_mix(keys + int(stream)) + view)
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=keys.device)
    bits = _mix(base[:, None] + counter * _signed(_GOLDEN))
    return _shift_right(bits, 40).to(torch.float32) * 2.0**-24


_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31


def _mix(value: Tensor) -> Tensor:
    """On a CPU by NumPy: it has unsigned numbers and needs fewer operations."""
    if value.device.type != "cpu":
        return _mix_on_device(value)
    bits = value.numpy().view(np.uint64) + np.uint64(_GOLDEN)
    for shift, multiplier in _ROUNDS:
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(multiplier)
    bits ^= bits >> np.uint64(_LAST_SHIFT)
    return torch.from_numpy(bits.view(np.int64))


def _mix_on_device(value: Tensor) -> Tensor:
    """The same in torch, whose int64 wraps as unsigned numbers do, but for the shifts."""
    value = value + _signed(_GOLDEN)
    for shift, multiplier in _ROUNDS:
        value = (value ^ _shift_right(value, shift)) * _signed(multiplier)
    return value ^ _shift_right(value, _LAST_SHIFT)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shift_right(value: Tensor, count: int) -> Tensor:
    """Logical shift; torch's ``>>`` on int64 keeps the sign."""
    return (value >> count) & ((1 << (64 - count)) - 1)
