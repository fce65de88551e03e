"""Attributes of files as a few values each."""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_audio.data.corpora.files import bare_name
from ssl_audio.data.manifest import Clip

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNKNOWN = -1.0
MOST_VALUES = 64
"""Of an attribute that is a name; with more values than that it tells single clips apart."""
RATE_GAP = 1.1
"""Bit rates with no other between them this far apart come from different settings.

A variable bit rate follows what is heard, as a loud voice needs more bits, and is spread without
gaps; of MP3's constant ones up to 128 kbit/s, neighbours are a factor of 1.14 apart at least.
"""
NUM_INTERVALS = 32
"""That a number is cut into."""
NAME_LENGTH = 24
"""Characters that are looked at from the start."""
NAME_NUMBERS = 8
"""Numbers in a name that are looked at."""


@dataclass(frozen=True)
class Codes:
    """One attribute of every clip, in one column or several."""

    columns: Ints
    """(clips, columns) number of its value from 0."""
    is_named: bool = False
    """Whether a value is something by itself, and no interval."""

    def group(self, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The clips of each value that is something by itself."""
        for value in range(self.columns.max() + 1 if self.is_named else 0):
            of_value = self.columns[:, 0] == value
            yield tuple(name for name, is_in in zip(names, of_value, strict=True) if is_in)


def code_values(read: Callable[[Clip], Hashable]) -> Callable[[Sequence[Clip]], Codes | None]:
    """An attribute with few values, numbered in sorted order."""

    def encode(clips: Sequence[Clip]) -> Codes | None:
        written = ["" if (value := read(clip)) is None else str(value) for clip in clips]
        names, values = np.unique(np.array(written), return_inverse=True)
        if not 1 < len(names) <= MOST_VALUES:
            return None
        return Codes(values[:, None], is_named=True)

    return encode


def code_bit_rates(clips: Sequence[Clip]) -> Codes | None:
    """Settings of the encoder: bit rates between which there is a gap."""
    rates = np.array([_bit_rate(clip) for clip in clips])
    known = np.unique(rates[rates > 0])
    edges = known[1:][known[1:] > RATE_GAP * known[:-1]]
    levels = np.where(rates > 0, np.searchsorted(edges, rates, side="right"), UNKNOWN)
    names, values = np.unique(levels, return_inverse=True)
    return Codes(values[:, None], is_named=True) if len(names) > 1 else None


def code_durations(clips: Sequence[Clip]) -> Codes | None:
    """Seconds, in intervals that hold as many clips each."""
    if any(clip.num_samples is None for clip in clips):
        return None
    seconds = np.array([clip.duration_seconds for clip in clips])
    return Codes(_cut(seconds)[:, None]) if np.ptp(seconds) > 0 else None


def code_names(clips: Sequence[Clip]) -> Codes | None:
    """Of a file's name its length, its numbers and its first characters."""
    rows = []
    for clip in clips:
        name = bare_name(clip.path)
        numbers = [float(number[:15]) for number in re.findall(r"\d+", name)[:NAME_NUMBERS]]
        numbers += [UNKNOWN] * (NAME_NUMBERS - len(numbers))
        letters = [float(ord(letter)) for letter in name[:NAME_LENGTH].ljust(NAME_LENGTH)]
        rows.append([float(len(name)), *numbers, *letters])
    varied = [column for column in np.array(rows).T if np.ptp(column) > 0]
    return Codes(np.stack([_cut(column) for column in varied], axis=1)) if varied else None


def _cut(numbers: Floats) -> Ints:
    """Numbers from 0 of intervals that hold as many each, or of single values if these are few."""
    values, places = np.unique(numbers, return_inverse=True)
    if len(values) <= NUM_INTERVALS:
        return places
    shares = np.linspace(0, 1, NUM_INTERVALS + 1)[1:-1]
    return np.searchsorted(np.unique(np.quantile(numbers, shares)), numbers, side="right")


def _bit_rate(clip: Clip) -> float:
    """Bit/s of its file; ``UNKNOWN`` for a segment, whose file is that of the whole recording."""
    if clip.source_bytes is None or not clip.num_samples or clip.parent is not None:
        return UNKNOWN
    return clip.source_bytes * 8 / clip.duration_seconds
