"""Rows of a feature table that are others with noise of their own, as smoothed oversampling makes.

Noise that is drawn for each feature by itself is alike in all directions and of one size for all
rows. What makes two measured rows differ is neither: features go together, so the differences lie
in few directions.

Source: Menardi and Torelli 2014, "Training and assessing classification rules with imbalanced
data", section 3.2 (ROSE, the smoothed bootstrap of imbalanced-learn's RandomOverSampler).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.oversampled import Floats, MadeUp, keep_continuous, scale

FEWEST_DIMENSIONS = 12
NUM_NEIGHBOURS = 10
JITTERED = "that repeat another with noise"
LEAST_ODDS = 1e3
"""That a row comes from the nearest one rather than from any other."""
LEAST_SHARE = 0.3
"""Of the doubtful rows of a class whose origin must be clear; of measured rows a tenth is."""
FEWEST_FOUND = 8
"""Of a class: fewer tell nothing of the noise."""
LEAST_EVENNESS = 0.45
"""Share of what a row differs from its origin by that lies in the narrower half of the directions
in which the table spreads. Of even noise it is half, of neighbouring clips a quarter."""
WIDEST_SPREAD = 1.6
"""Of the distances' quartiles, in units of that of even noise."""

Mask = npt.NDArray[np.bool_]


def find_jittered(values: Floats, labels: Sequence[str | None], doubtful: Mask) -> list[MadeUp]:
    """Rows that are others plus noise, if the doubtful rows of a class look so together.

    Args:
        values: (rows, features), finite, no column constant.
        labels: of the rows; every class may have noise of its own size.
        doubtful: (rows,) of which nobody knows what they were measured from; the others are where
            they may come from.

    Returns:
        Those rows whose origin is clear.
    """
    scaled, _ = scale(keep_continuous(values))
    known = np.flatnonzero(~doubtful)
    if not FEWEST_DIMENSIONS <= scaled.shape[1] < len(known) or len(known) <= NUM_NEIGHBOURS:
        return []
    named = np.array([label or "" for label in labels])
    found = []
    for name in np.unique(named[doubtful]):
        rows = np.flatnonzero(doubtful & (named == name))
        traced: list[tuple[int, int]] = []
        for unit in _units(scaled, ~doubtful & (named == name)):
            traced = traced or _trace(scaled[rows] / unit, scaled[known] / unit)
        found += [
            MadeUp(int(rows[place]), (int(known[origin]),), JITTERED) for place, origin in traced
        ]
    return found


def _units(scaled: Floats, own: Mask) -> list[Floats]:
    """(dimensions,) of the noise: as wide as all rows together, or as those of the own class."""
    units = [np.ones(scaled.shape[1])]
    if own.sum() > 2:
        deviation = scaled[own].std(axis=0)
        units += [deviation] if deviation.all() else []
    return units


def _trace(points: Floats, origins: Floats) -> list[tuple[int, int]]:
    """Places of points and of what they come from; none if they don't look like noise around it.

    Args:
        points: (points, dimensions) scaled, of one class.
        origins: (origins, dimensions) that they may come from.
    """
    if len(points) < FEWEST_FOUND:
        return []
    squares, nearest = _squared_distances(points, origins)
    variance = float(np.median(squares[:, 0])) / points.shape[1]
    if not variance or not _are_of_one_size(np.sqrt(squares[:, 0]), points.shape[1]):
        return []
    others = np.exp(-(squares[:, 1:] - squares[:, :1]) / (2 * variance)).sum(axis=1)
    clear = np.flatnonzero((others < 1 / LEAST_ODDS) & (squares[:, 0] > 0))
    if len(clear) < max(FEWEST_FOUND, LEAST_SHARE * len(points)):
        return []
    if _evenness(points[clear] - origins[nearest[clear]], origins) < LEAST_EVENNESS:
        return []
    return [(int(place), int(nearest[place])) for place in clear]


def _squared_distances(points: Floats, origins: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """(points, neighbours) squared distances, nearest first, and (points,) the nearest's place."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=NUM_NEIGHBOURS, algorithm="brute").fit(origins)
    distances, places = index.kneighbors(points)
    return distances**2, places[:, 0]


def _are_of_one_size(distances: Floats, num_dimensions: int) -> bool:
    """Lengths of even noise spread by 1 over the root of twice its dimensions."""
    low, middle, high = np.percentile(distances, (25, 50, 75))
    expected = 1.35 / np.sqrt(2 * num_dimensions)
    return bool((high - low) / middle <= WIDEST_SPREAD * expected)


def _evenness(ways: Floats, known: Floats) -> float:
    """Mean share of squared length in the narrower half of the directions that rows spread in."""
    _, directions = np.linalg.eigh(np.cov(known.T))
    narrow = directions[:, : known.shape[1] // 2]
    shares = ((ways @ narrow) ** 2).sum(axis=1) / (ways**2).sum(axis=1)
    return float(shares.mean())
