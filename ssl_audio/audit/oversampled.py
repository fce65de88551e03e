"""Made-up rows of a feature table: points between two others, and rows given twice.

Oversampling makes rows ``a + share * (b - a)`` (SMOTE and its variants) or repeats them. Seen from
such a point, its two origins lie in exactly opposite directions, which measured points in four
dimensions or more never do; scaling of the columns and rounding leave that as it is.

Source: Chawla et al. 2002, "SMOTE: Synthetic Minority Over-sampling Technique", section 4.2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEWEST_DIMENSIONS = 4
NUM_NEIGHBOURS = 20
"""Among which origins are looked for. SMOTE takes five, of the class, before it adds points."""
SEARCH_DIMENSIONS = 64
"""That neighbours are searched in; what is on a line is so in any of the dimensions."""
WIDEST_ANGLE = 1e-3
"""Radians off the line that are laid to rounding at most. By chance two directions in four
dimensions are so near opposite twice in 10^10."""
FEWEST_FOUND = 3
"""Fewer may be chance in a table of many thousand rows."""
MOST_ROWS = 30_000
FEWEST_VALUES = 0.3
"""Different values over rows, else a column is a count or a class, whose points lie on a grid."""
SINGLE_PRECISION = 2.0**-24
_BLOCK_ROWS = 128
BETWEEN, REPEATED = "on the line between two others", "given twice"


@dataclass(frozen=True)
class MadeUp:
    """One row that follows from others."""

    row: int
    origins: tuple[int, ...]
    """Two rows that it lies between, or one that it repeats."""
    how: str
    """For reports, said of several rows."""


def find_between(values: Floats, labels: Sequence[str | None]) -> list[MadeUp]:
    """Rows that lie on the line between two others, within what rounding explains.

    Args:
        values: (rows, features), finite, no column constant.
        labels: of the rows; neighbours are also searched within a class, as SMOTE does.

    Returns:
        None if they are so few that chance may have put them there.
    """
    scaled, noise = scale(keep_continuous(values))
    if scaled.shape[1] < FEWEST_DIMENSIONS or len(scaled) < 3:
        return []
    step = max(1, scaled.shape[1] // SEARCH_DIMENSIONS)
    searched = scaled[:, ::step]
    found: dict[int, MadeUp] = {}
    for rows in _neighbourhoods(labels):
        neighbours = _nearest(searched[rows])
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            for row, first, second in _opposite(
                scaled, rows[block], rows[neighbours[block]], noise
            ):
                found.setdefault(row, MadeUp(row, (first, second), BETWEEN))
    return [found[row] for row in sorted(found)] if len(found) >= FEWEST_FOUND else []


def find_repeated(values: Floats) -> list[MadeUp]:
    """Rows that equal an earlier one in every feature.

    A row whose features are all alike, such as the floor of a spectrum, is silence and no copy.
    """
    if keep_continuous(values).shape[1] < FEWEST_DIMENSIONS:
        return []
    _, first, group = np.unique(values, axis=0, return_index=True, return_inverse=True)
    origin = first[group.ravel()]
    repeated = np.flatnonzero((origin != np.arange(len(values))) & (np.ptp(values, axis=1) > 0))
    return [MadeUp(int(row), (int(origin[row]),), REPEATED) for row in repeated]


def keep_continuous(values: Floats) -> Floats:
    """The columns that measure something, of which points lie on no grid."""
    num_values = np.array([len(np.unique(column)) for column in values.T])
    return values[:, num_values >= max(3, FEWEST_VALUES * len(values))]


def scale(values: Floats) -> tuple[Floats, float]:
    """Columns of standard deviation 1, and how far rounding may have moved a row."""
    if not values.size:
        return values, 0.0
    deviation = values.std(axis=0)
    steps = np.array([_resolution(column) for column in values.T]) / deviation
    return (values - values.mean(axis=0)) / deviation, float(np.linalg.norm(steps))


def _resolution(column: Floats) -> float:
    """Half of the step that a column was rounded to: decimals, digits, or a float's precision."""
    largest = float(np.abs(column).max())
    for decimals in range(3, 9):
        if np.allclose(column, np.round(column, decimals), rtol=0, atol=1e-13 * largest):
            return 0.5 * 10.0**-decimals
    exponents = np.floor(np.log10(np.abs(np.where(column == 0, 1.0, column))))
    for digits in range(4, 10):
        unit = 10.0 ** (exponents - digits + 1)
        if np.allclose(column, np.round(column / unit) * unit, rtol=1e-13, atol=0):
            return max(0.5 * 10.0 ** (1 - digits), SINGLE_PRECISION) * largest
    is_single = np.array_equal(column, column.astype(np.float32).astype(np.float64))
    return (SINGLE_PRECISION if is_single else 1e-14) * largest


def _neighbourhoods(labels: Sequence[str | None]) -> Iterator[Ints]:
    """All rows, then those of each class."""
    named = np.array([label or "" for label in labels])
    yield np.arange(len(named))
    classes = np.unique(named)
    if len(classes) > 1:
        for name in classes:
            rows = np.flatnonzero(named == name)
            if name and len(rows) > 2:
                yield rows


def _nearest(points: Floats) -> Ints:
    """(rows, neighbours) places of the nearest others."""
    from sklearn.neighbors import NearestNeighbors

    num = min(NUM_NEIGHBOURS, len(points) - 1)
    index = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(points)
    neighbours: Ints = index.kneighbors(return_distance=False)
    return neighbours


def _opposite(
    points: Floats, rows: Ints, neighbours: Ints, noise: float
) -> Iterator[tuple[int, int, int]]:
    """Rows with two of their neighbours in opposite directions.

    Args:
        points: (all rows, dimensions) scaled.
        rows: (rows,) to look at.
        neighbours: (rows, neighbours) of them.
        noise: how far rounding may have moved a point.
    """
    ways = points[neighbours] - points[rows][:, None]
    lengths = np.linalg.norm(ways, axis=2)
    apart = lengths > 20 * noise + 1e-9  # from a repeated row there is no direction
    ways /= np.where(apart, lengths, 1.0)[:, :, None]
    cosines = np.einsum("rad,rbd->rab", ways, ways)
    near = np.where(apart, lengths, np.inf)
    # Each of three points may be off by the noise; the angle of a short way suffers most.
    angles = 3 * noise * (1 / near[:, :, None] + 1 / near[:, None, :]) + 1e-7
    limits = np.minimum(angles, WIDEST_ANGLE) ** 2 / 2
    both = apart[:, :, None] & apart[:, None, :]
    excess = np.where(both, 1 + cosines - limits, np.inf)
    best = excess.reshape(len(rows), -1).argmin(axis=1)
    for place in np.flatnonzero(excess.reshape(len(rows), -1).min(axis=1) <= 0):
        first, second = divmod(int(best[place]), neighbours.shape[1])
        yield int(rows[place]), int(neighbours[place, first]), int(neighbours[place, second])
