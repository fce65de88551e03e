"""Whether two declared speakers are one voice, by ear.

A table can call one person by two names. Every two speakers are compared by the mean prints of
their clips, among all speakers of the corpus: their likeness is the cosine between the two once the
scatter of clips about their own speaker is white in every direction, and the directions in which
speakers differ most, such as women's and men's voices or two corpora's rooms, are damped so that
they do not decide alone. What one speaker reaches is measured on halves of everybody's clips, drawn
at random.

Source: Hatch, Kajarekar and Stolcke 2006, "Within-class covariance normalization for SVM-based
speaker recognition"; Dehak et al. 2011, "Front-end factor analysis for speaker verification",
section III-B (cosine scoring). The damping is ours.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy.linalg
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA

from ssl_audio.audit.voice_prints import Float, take_prints
from ssl_audio.data.prepared import PreparedCorpus

Double = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Item = TypeVar("Item")

_FEWEST_CLIPS = 15
"""Of a speaker who is listened to."""
_FEWEST_SPEAKERS = 4
"""Who are listened to at all."""
_MOST_CLIPS = 60
"""Of a speaker that are listened to, from first to last; fewer where there are many speakers."""
_MOST_LISTENED = 12_000
"""Clips in all: what is heard of them, up to 60 kB of each, stays in memory."""
_DIMENSIONS = 100
_CLIPS_PER_DIMENSION = 4
_DAMPING = 4.0
"""Variance among speakers, in variances of single clips about their speaker, up to which a
direction keeps its size."""
_LEAST_SCATTER = 1e-6
"""Of clips about their speaker, in variances of all."""
_NUM_HALVINGS = 3
_ONE_VOICE = 0.5
"""Least likeness of one voice. Two speakers of 15 clips or more reach 0.46 on the synthetic corpus
and 0.20 on EMO-DB; random halves of one speaker are above 0.5 in 97 of 100 cases."""


@dataclass(frozen=True)
class Voices:
    """How alike the declared speakers of a corpus sound."""

    speakers: tuple[str, ...]
    """Those that were listened to, sorted."""
    likeness: Double
    """(speakers, speakers) from -1 to 1."""
    halves: Double
    """(speakers,) likeness of random halves of the clips of each."""
    num_left_out: int
    """Speakers with too few clips, or of whom there were too many."""

    @property
    def of_one_speaker(self) -> float:
        """What halves of one speaker reach in the middle."""
        return float(np.median(self.halves))

    @property
    def pairs(self) -> dict[tuple[str, str], float]:
        """Every two speakers that sound like one voice, in sorted order, with their likeness."""
        first, second = np.nonzero(np.triu(self.likeness >= _ONE_VOICE, 1))
        return {
            (self.speakers[a], self.speakers[b]): float(self.likeness[a, b])
            for a, b in zip(first, second, strict=True)
        }

    @property
    def most_of_others(self) -> float:
        """Likeness of the two most alike of those who do not sound like one."""
        upper = self.likeness[np.triu_indices(len(self.speakers), 1)]
        return float(upper[upper < _ONE_VOICE].max(initial=-1.0))


def listen(corpus: PreparedCorpus) -> Voices | None:
    """Compares every two speakers of a corpus.

    Returns:
        None if under ``_FEWEST_SPEAKERS`` have ``_FEWEST_CLIPS`` clips: then there is nobody to
        compare them with; and if nothing is to be heard.
    """
    owned = defaultdict(list)
    for place, clip in enumerate(corpus.clips):
        if clip.speaker is not None:
            owned[clip.speaker].append(place)
    enough = sorted(name for name, own in owned.items() if len(own) >= _FEWEST_CLIPS)
    speakers = tuple(_spread(enough, _MOST_LISTENED // _FEWEST_CLIPS))
    if len(speakers) < _FEWEST_SPEAKERS:
        return None
    most = min(_MOST_CLIPS, _MOST_LISTENED // len(speakers))
    places = [_spread(owned[speaker], most) for speaker in speakers]
    owners = np.repeat(np.arange(len(speakers)), [len(own) for own in places])
    prints = take_prints([corpus.views[place] for own in places for place in own])
    if np.ptp(prints, axis=0).max() == 0:
        return None
    return Voices(speakers, *compare(prints, owners), len(owned) - len(speakers))


def compare(prints: Float, owners: Ints) -> tuple[Double, Double]:
    """Likeness of every two speakers, and of halves of each.

    Args:
        prints: (clips, numbers).
        owners: (clips,) int64 number of each clip's speaker from 0, each with two clips at least.

    Returns:
        (speakers, speakers) and (speakers,) float64 from -1 to 1.
    """
    white = _whiten(prints, owners)
    rng = np.random.default_rng(0)
    halves = []
    for _ in range(_NUM_HALVINGS):
        in_second = np.empty(len(owners), dtype=np.int64)
        for speaker in np.unique(owners):
            own = rng.permutation(np.flatnonzero(owners == speaker))
            in_second[own] = np.arange(len(own)) % 2
        halves.append(np.diag(_measure(white, 2 * owners + in_second)[::2, 1::2]))
    return _measure(white, owners), np.mean(halves, axis=0)


def _whiten(prints: Float, owners: Ints) -> Double:
    """(clips, dimensions) with unit scatter about their owner's mean in every direction."""
    dimensions = min(_DIMENSIONS, prints.shape[1], max(2, len(prints) // _CLIPS_PER_DIMENSION))
    reduced = PCA(dimensions, svd_solver="covariance_eigh").fit_transform(prints.astype(np.float64))
    within = reduced - _average(reduced, owners)[owners]
    freedom = len(reduced) - len(np.unique(owners))
    covariance = ledoit_wolf(within, assume_centered=True)[0] * len(reduced) / freedom
    # Copies of one recording have no scatter.
    covariance += np.eye(dimensions) * (_LEAST_SCATTER * reduced.var() + np.finfo(float).tiny)
    white: Double = scipy.linalg.solve_triangular(
        np.linalg.cholesky(covariance), reduced.T, lower=True
    ).T
    return white


def _measure(white: Double, owners: Ints) -> Double:
    """(owners, owners) cosine between their means, as seen from the middle of all."""
    means = _average(white, owners)
    left, sizes, _ = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    placed = left * (sizes / np.sqrt(np.square(sizes) / len(means) + _DAMPING))
    directed = placed / np.maximum(np.linalg.norm(placed, axis=1, keepdims=True), 1e-12)
    likeness: Double = directed @ directed.T
    return likeness


def _average(numbers: Double, owners: Ints) -> Double:
    """(owners, numbers) mean of each owner's rows."""
    sums = np.zeros((owners.max() + 1, numbers.shape[1]))
    np.add.at(sums, owners, numbers)
    return sums / np.bincount(owners)[:, None]


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """Some of the items, or all, evenly from first to last."""
    chosen = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(np.int64)
    return [items[place] for place in chosen]
