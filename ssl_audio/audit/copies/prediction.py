"""What the end of a recording foresees of the samples that come next, as likelihoods.

A waveform is predictable: its last 60 ms, taken as an autoregressive Gaussian process, say what
the next millisecond looks like, down to the phase of every harmonic of a voice.

Source: Burg 1975, "Maximum Entropy Spectral Analysis", chapter II, for the coefficients. We weight
recent samples more, as speech changes within the 60 ms.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Real = npt.NDArray[np.floating[Any]]

PAST = 960
"""Samples before an end that it is judged by, 60 ms."""
NEXT = 20
"""Samples that are foreseen. More of them weigh more, but a voice has changed by then."""
FIRST_LOOK = 8
"""Of these, samples that rule most pairs out."""

_ORDER = 200
"""12.5 ms hold a period of nearly every voice."""
_MEMORY = 320
"""Samples after which a sample of the past counts 1/e."""
_SHORT_PAST = 240
_SHORT_ORDER = 32
"""A second model of the very end, for sounds that begin or die away within the 60 ms."""
_QUANTISATION = 0.3
"""Variance below which int16 samples tell nothing, as rounding does as much."""
_FREEDOM = 8.0
"""Degrees of freedom of Student's distribution: glottal pulses surprise a Gaussian too much."""
_CHUNK = 64
"""Ends at a time, to stay in the cache."""


class Outlook(NamedTuple):
    """What ends of recordings foresee, in units of what they leave open."""

    whitening: Float
    """(ends, NEXT, NEXT) lower triangular: makes noise of variance 1 of the samples that follow."""
    expected: Float
    """(ends, NEXT) what that gives of the continuation that is foreseen."""
    log_scale: Float
    """(ends,) logarithm of the deviation that a sample leaves open."""
    alone: Float
    """(ends, 2) log likelihood of an end's own last ``FIRST_LOOK`` and last ``NEXT`` samples as
    such, for one who knows the sound but not what is on the other side of the joint."""


def foresee(past: Double) -> Outlook:
    """What some ends foresee.

    Args:
        past: (ends, PAST) int16 values; time runs towards the end, which is last.
    """
    chunks = [_foresee(past[start : start + _CHUNK]) for start in range(0, len(past), _CHUNK)]
    return Outlook(*(np.concatenate(each).astype(np.float32) for each in zip(*chunks, strict=True)))


def log_likelihood(energy: Real, count: int, log_scale: Real) -> Real:
    """Of samples under Student's distribution, but for a constant that only their number decides.

    Args:
        energy: (...) sum of squares of the whitened samples.
        count: how many samples that are.
        log_scale: logarithm of the deviation of one sample, broadcast with ``energy``.
    """
    weight = np.float32((_FREEDOM + count) / 2)
    likelihood: Real = -np.float32(count) * log_scale - weight * np.log1p(energy / _FREEDOM)
    return likelihood


def _foresee(past: Double) -> tuple[Real, Real, Real, Real]:
    weights = np.exp(-np.arange(PAST)[::-1] / _MEMORY)
    models = list(_fit(past, _ORDER, weights))
    coefficients, variance = models[-1]
    deviation = np.sqrt(variance)
    whitening = np.zeros((len(past), NEXT, NEXT))
    expected = np.empty((len(past), NEXT))
    known = np.pad(past[:, -_ORDER:], ((0, 0), (0, NEXT)))
    for step in range(NEXT):
        whitening[:, step, : step + 1] = coefficients[:, step::-1]
        window = known[:, step : step + _ORDER]
        expected[:, step] = -np.einsum("ec,ec->e", coefficients[:, :0:-1], window)
    short = list(_fit(past[:, -_SHORT_PAST:], _SHORT_ORDER, np.ones(_SHORT_PAST)))
    alone = [
        np.maximum(_likelihood_alone(past, models, count), _likelihood_alone(past, short, count))
        for count in (FIRST_LOOK, NEXT)
    ]
    whitening /= deviation[:, None, None]
    return whitening, expected / deviation[:, None], np.log(deviation), np.stack(alone, axis=1)


def _fit(past: Double, order: int, weights: Double) -> Iterator[tuple[Double, Double]]:
    """Models of order 0 to ``order``: (ends, order + 1) coefficients and (ends,) variance left."""
    forward, backward = past, past
    variance = np.square(past) @ weights / weights.sum() + _QUANTISATION
    coefficients = np.ones((len(past), 1))
    yield coefficients, variance
    for _ in range(order):
        weights = weights[1:]
        forward, backward = forward[:, 1:], backward[:, :-1]
        energy = (np.square(forward) + np.square(backward)) @ weights / 2
        reflection = -((forward * backward) @ weights) / (energy + _QUANTISATION * weights.sum())
        reflection = reflection[:, None]
        forward, backward = forward + reflection * backward, backward + reflection * forward
        longer = np.pad(coefficients, ((0, 0), (0, 1)))
        coefficients = longer + reflection * longer[:, ::-1]
        variance = variance * (1 - reflection[:, 0] ** 2)
        yield coefficients, variance


def _likelihood_alone(past: Double, models: list[tuple[Double, Double]], count: int) -> Real:
    """Of the last samples, each foreseen from those between it and the end: time has no sense."""
    backwards = past[:, : -count - 1 : -1]
    residual = np.empty_like(backwards)
    log_scale = np.zeros(len(past))
    for step in range(count):
        coefficients, variance = models[step]
        known = backwards[:, step::-1]
        residual[:, step] = np.einsum("ec,ec->e", coefficients, known) / np.sqrt(variance)
        log_scale += np.log(variance) / 2 / count
    energy = np.einsum("es,es->e", residual, residual)
    return log_likelihood(energy, count, log_scale)
