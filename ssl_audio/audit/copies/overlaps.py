"""Recordings whose last samples are the first ones of another: windows that hardly overlap.

Too short for landmarks, but samples that were cut and not encoded again are equal one by one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.copies.kinds import CopyKind
from ssl_audio.data.manifest import SAMPLE_RATE

Int16 = npt.NDArray[np.int16]
UInt64 = npt.NDArray[np.uint64]

LEAST = 32
"""Equal samples, 2 ms."""
CERTAIN = SAMPLE_RATE // 20
"""Samples, 50 ms, that no two recordings share by chance at an end and a start alone."""
MOST = SAMPLE_RATE // 2
"""Samples; what overlaps by more is found by its landmarks."""

_KEY = 16
"""Samples at the start that are looked up."""
_FEWEST_VALUES = 6
"""That differ among these: silence and hum of a few steps are everywhere."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: spreads numbers over a table (Knuth, section 6.4)."""
_TABLE_BITS = 20
_TABLE_SHIFT = np.uint64(64 - _TABLE_BITS)


class Overlap(NamedTuple):
    """The last samples of the first recording are the first of the second."""

    first: int
    second: int
    """Positions."""
    num_samples: int

    @property
    def kind(self) -> CopyKind:
        """What that makes of the two: a few milliseconds alone are a warning."""
        return "split_parent" if self.num_samples >= CERTAIN else "possible_split_parent"

    @property
    def evidence(self) -> str:
        """In a few words."""
        return f"the last {self.num_samples} samples of one are the first of the other"


def find_overlaps(views: Sequence[Int16]) -> list[Overlap]:
    """Every two recordings that overlap by ``LEAST`` to ``MOST`` equal samples, at one place only.

    A sound that several recordings begin or end with (a jingle, a click) tells nothing of them, nor
    does one that repeats itself (a beep), which fits at every period.

    Args:
        views: (samples,) int16 at 16 kHz of each recording, no two equal.
    """
    lengths: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for first, second, num_samples in _find_equal(views):
        lengths[first, second].append(num_samples)
    ends = Counter(first for first, _ in lengths)
    starts = Counter(second for _, second in lengths)
    return [
        Overlap(first, second, found[0])
        for (first, second), found in lengths.items()
        if len(found) == 1 and ends[first] == 1 and starts[second] == 1
    ]


def _find_equal(views: Sequence[Int16]) -> Iterator[tuple[int, int, int]]:
    """Positions of two recordings, and how many last samples of one are the first of the other."""
    starts: dict[int, list[int]] = {}
    for place, view in enumerate(views):
        if len(view) >= LEAST and len(np.unique(view[:_KEY])) >= _FEWEST_VALUES:
            starts.setdefault(int(_hash(view[:_KEY])[0]), []).append(place)
    alone = {key: places[0] for key, places in starts.items() if len(places) == 1}
    keys = np.array(list(alone), np.uint64)
    table = np.zeros(2**_TABLE_BITS, bool)
    table[keys >> _TABLE_SHIFT] = True
    for first, view in enumerate(views):
        end = view[-MOST:]
        hashes = _hash(end[: max(len(end) - LEAST + _KEY, 0)])
        for begin in np.nonzero(table[hashes >> _TABLE_SHIFT])[0]:
            second = alone.get(int(hashes[begin]), first)
            shared = end[begin:]
            if first != second and np.array_equal(shared, views[second][: len(shared)]):
                yield first, second, len(shared)


def _hash(samples: Int16) -> UInt64:
    """(samples - 15,) a number for every sixteen neighbours."""
    bits = samples.astype(np.int64).view(np.uint64)
    count = max(len(bits) - _KEY + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for step in range(_KEY):
        hashes = hashes * _FACTOR + bits[step : step + count]
    return hashes * _FACTOR
