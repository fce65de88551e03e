"""Which recordings share landmarks that lie equally far apart: an inverted index, not all pairs.

Source: Wang 2003, section 2.3. A landmark that many recordings hold tells them hardly apart; only
neighbours among its holders are looked at, so the work grows with the number of landmarks, not with
that of pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.copies.landmarks import HOP, NARROW_RATE, Landmarks
from ssl_audio.data.manifest import SAMPLE_RATE

Int64 = npt.NDArray[np.int64]

FEWEST_VOTES = 4
"""Landmarks that two recordings must share at one lag to be compared further."""

_MOST_HOLDERS = 32
"""Occurrences of a landmark of which every two are looked at."""
_CHAINED = 2
"""Next occurrences that are looked at where there are more: a recording with a hundred copies fills
its landmarks by itself, and as a chain its copies still hang together."""
_LAG_STEP = 2
"""Frames."""
_LAGS = 2**16
"""Steps of lag that are told apart: 17 minutes either way."""


class Match(NamedTuple):
    """Two recordings that may hold the same sound."""

    first: int
    second: int
    """Positions, the first one the lower."""
    lag: int
    """Samples at 16 kHz: what is at t in the second is at t + lag in the first, or nearly."""
    votes: int


def find_matches(landmarks: Sequence[Landmarks]) -> list[Match]:
    """Every two recordings with enough landmarks in common at one lag, by position.

    Args:
        landmarks: of each recording.
    """
    pairs, lags = _collide(landmarks)
    codes, votes = np.unique(pairs * _LAGS + lags, return_counts=True)
    # The true lag lies between two steps: a neighbour's votes count as well.
    adjacent = np.zeros_like(votes)
    touching = (np.diff(codes) == 1).nonzero()[0]
    adjacent[touching] = votes[touching + 1]
    adjacent[touching + 1] = np.maximum(adjacent[touching + 1], votes[touching])
    both = votes + adjacent
    pairs, lags = np.divmod(codes, _LAGS)
    order = np.lexsort((-votes, -both, pairs))
    _, first_of_pair = np.unique(pairs[order], return_index=True)
    best = order[first_of_pair]
    best = best[both[best] >= FEWEST_VOTES]
    scale = _LAG_STEP * HOP * SAMPLE_RATE // NARROW_RATE
    count = max(len(landmarks), 1)
    return [
        Match(int(pair // count), int(pair % count), int(lag - _LAGS // 2) * scale, int(vote))
        for pair, lag, vote in zip(pairs[best], lags[best], both[best], strict=True)
    ]


def _collide(landmarks: Sequence[Landmarks]) -> tuple[Int64, Int64]:
    """Of every two occurrences of a landmark: the pair of recordings, and the step of their lag."""
    if not landmarks:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys = np.concatenate([each.keys for each in landmarks])
    frames = np.concatenate([each.frames for each in landmarks])
    owners = np.repeat(np.arange(len(landmarks)), [len(each.keys) for each in landmarks])
    order = np.lexsort((owners, keys))
    keys, frames, owners = keys[order], frames[order], owners[order]
    _, place, count = np.unique(keys, return_inverse=True, return_counts=True)
    crowded = count[place] > _MOST_HOLDERS
    pairs, lags = [], []
    for step in range(1, _MOST_HOLDERS):
        alike = keys[step:] == keys[:-step]
        places = (alike & ~crowded[step:] if step > _CHAINED else alike).nonzero()[0]
        first, second = owners[places], owners[places + step]
        other = first != second
        apart = (frames[places] - frames[places + step])[other]
        pairs.append((first * len(landmarks) + second)[other])
        lags.append(apart // _LAG_STEP + _LAGS // 2)
    return np.concatenate(pairs), np.concatenate(lags).astype(np.int64)
