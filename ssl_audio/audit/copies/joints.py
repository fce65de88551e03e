"""Recordings that were cut apart: where one ends, the waveform goes on in another one.

Pieces that do not overlap have no sound in common, but the end of the first foresees the start of
the second (``prediction``), and the start of the second, backwards, the end of the first. An end is
compared with every start; a pair must outweigh all others that share its end or its start.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.copies.kinds import CopyKind
from ssl_audio.audit.copies.prediction import (
    FIRST_LOOK,
    NEXT,
    PAST,
    Outlook,
    Real,
    foresee,
    log_likelihood,
)

Float = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]
Double = npt.NDArray[np.float64]

MOST_CLIPS = 50_000
"""Every end is compared with every start: of more clips this takes too long."""

_LEAST_ODDS = 7.0
"""Natural logarithm. Whole recordings of the synthetic corpus and of EMO-DB, which are no pieces,
stay below 3; of the competition's 7355 three pairs reach 7."""
_CERTAIN = 12.0
"""Only the competition's one pair of true neighbours reaches it, the next is at 10.7."""
_PROMISING = -4.0
"""Least log likelihood ratio of the first look that is looked at again."""
_MOST_LOPSIDED = 12.0
"""Nats by which one direction may count more than the other: a start that hardly anything can lie
before makes everything look foreseen."""
_AT_A_TIME = 32
"""Ends compared with every start."""
_PAIRS_AT_A_TIME = 20_000


class Joint(NamedTuple):
    """Two recordings of which the second may go on where the first ends."""

    first: int
    second: int
    """Positions."""
    odds: float
    """Natural logarithm, of this pair against every other start or end together, and against
    nothing that goes on."""

    @property
    def kind(self) -> CopyKind:
        """What that makes of the two."""
        return "split_parent" if self.odds >= _CERTAIN else "possible_split_parent"

    @property
    def evidence(self) -> str:
        """The odds in a few words."""
        return f"the waveform goes on from one to the other, odds 10^{self.odds / np.log(10):.1f}"


def find_joints(views: Sequence[Int16]) -> list[Joint]:
    """Every two recordings of which one goes on where the other ends.

    Pieces that end in silence or in nothing but noise are not among them: any start fits.

    Args:
        views: (samples,) int16 at 16 kHz of each recording, no two equal.
    """
    places = np.array([place for place, view in enumerate(views) if len(view) >= PAST])
    if not 2 <= len(places) <= MOST_CLIPS:
        return []
    ends = np.stack([views[place][-PAST:] for place in places])
    starts = np.stack([views[place][PAST - 1 :: -1] for place in places])
    forward, backward = foresee(ends.astype(np.float64)), foresee(starts.astype(np.float64))
    first, second = _look_first(forward, backward, starts)
    ratio = _weigh(forward, backward, ends, starts, first, second)
    odds = _outweigh(first, second, ratio, len(places))
    told = np.nonzero(odds >= _LEAST_ODDS)[0]
    return [Joint(int(places[first[k]]), int(places[second[k]]), float(odds[k])) for k in told]


def _look_first(forward: Outlook, backward: Outlook, starts: Int16) -> tuple[Int64, Int64]:
    """Pairs of end and start whose first samples fit; nothing is a neighbour of itself."""
    samples = np.ascontiguousarray(_beyond(starts)[:, :FIRST_LOOK].T)
    enough = backward.alone[:, 0] + np.float32(_PROMISING)
    firsts, seconds = [], []
    for begin in range(0, len(starts), _AT_A_TIME):
        part = slice(begin, begin + _AT_A_TIME)
        whitening = forward.whitening[part, :FIRST_LOOK, :FIRST_LOOK]
        residual = whitening.reshape(-1, FIRST_LOOK) @ samples
        residual = residual.reshape(len(whitening), FIRST_LOOK, -1)
        residual -= forward.expected[part, :FIRST_LOOK, None]
        energy = np.einsum("esp,esp->ep", residual, residual)
        likelihood = log_likelihood(energy, FIRST_LOOK, forward.log_scale[part, None])
        first, second = np.nonzero(likelihood > enough)
        firsts.append(first + begin)
        seconds.append(second)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    other = first != second
    return first[other], second[other]


def _weigh(
    forward: Outlook, backward: Outlook, ends: Int16, starts: Int16, first: Int64, second: Int64
) -> Real:
    """(pairs,) log likelihood ratio of one waveform to two, both ways together."""
    ahead = _compare(forward, backward, _beyond(starts), first, second)
    back = _compare(backward, forward, _beyond(ends), second, first)
    return np.minimum(ahead + back, 2 * np.minimum(ahead, back) + np.float32(_MOST_LOPSIDED))


def _compare(of: Outlook, other: Outlook, beyond: Float, here: Int64, there: Int64) -> Real:
    """(pairs,) log likelihood ratio of what lies beyond the joint, as foreseen and as such."""
    ratios: list[Real] = [np.zeros(0, np.float32)]
    for begin in range(0, len(here), _PAIRS_AT_A_TIME):
        one = here[begin : begin + _PAIRS_AT_A_TIME]
        two = there[begin : begin + _PAIRS_AT_A_TIME]
        residual = np.einsum("pij,pj->pi", of.whitening[one], beyond[two]) - of.expected[one]
        energy = np.einsum("ps,ps->p", residual, residual)
        likelihood = log_likelihood(energy, NEXT, of.log_scale[one])
        ratios.append(likelihood - other.alone[two, 1])
    return np.concatenate(ratios)


def _beyond(past: Int16) -> Float:
    """(ends, NEXT) the samples of an end as seen from the other side of the joint."""
    return past[:, : -NEXT - 1 : -1].astype(np.float32)


def _outweigh(first: Int64, second: Int64, ratio: Real, count: int) -> Double:
    """(pairs,) odds of each pair against its rivals; that nothing goes on is ``count`` of them."""
    odds = ratio.astype(np.float64)
    against = [_add_rivals(side, odds, count) for side in (first, second)]
    return odds - np.maximum(*against)


def _add_rivals(side: Int64, odds: Double, count: int) -> Double:
    """(pairs,) logarithm of what the other pairs with the same end, or start, weigh together."""
    most = np.full(count, np.log(count))
    np.maximum.at(most, side, odds)
    weights = np.exp(odds - most[side])
    total = np.bincount(side, weights, minlength=count) + count * np.exp(-most)
    rivals: Double = np.log(np.maximum(total[side] - weights, 1e-300)) + most[side]
    return rivals
