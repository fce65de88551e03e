"""Whose statistics a table of features was normalised with, recomputed from its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

EXACT = 1e-4
"""How near to 0 and 1 mean and standard deviation are after normalisation, whatever a table is
rounded to (four decimals and more). Means over other rows are off by about 1 over the root of
their number: a hundred times as much in a thousand rows."""
EXACT_RANGE = 1e-6
"""The same for least and largest value, which rounding leaves as they are."""
FEWEST_COLUMNS = 2
"""That must be exact at once."""
FEWEST_RANGES = 4
"""Least and largest value of a share are 0 and 1 too, so more columns must be so."""
FEWEST_ROWS = 3
"""Of whoever is said to be normalised."""
RANGES = ((0.0, 1.0), (-1.0, 1.0))


@dataclass(frozen=True)
class Normalisation:
    """Rows that a table was normalised with."""

    population: str
    """E.g. ``train and test``."""
    how: str
    """``mean 0 and standard deviation 1`` or ``a range of 0 to 1``."""
    num_columns: int


def find_leaked_constants(
    values: Floats, innocent: Mapping[str, Places], leaking: Mapping[str, Places]
) -> Normalisation | None:
    """Whether constants come from rows that they must not come from.

    Args:
        values: (rows, features).
        innocent: rows that constants may come from, by name.
        leaking: rows that hold test rows, by name.
    """
    for name, rows in leaking.items():
        if len(rows) < FEWEST_ROWS:
            continue
        exact = is_standard(values[rows])
        for own in innocent.values():
            exact &= ~is_standard(values[own])
        if exact.sum() >= min(FEWEST_COLUMNS, values.shape[1]):
            return Normalisation(name, "mean 0 and standard deviation 1", int(exact.sum()))
    for name, rows in leaking.items():
        for low, high in RANGES:
            fits = has_range(values[rows], low, high)
            wide = fits.sum() >= max(FEWEST_RANGES, values.shape[1] / 2)
            beyond = [fits & ~has_range(values[own], low, high) for own in innocent.values()]
            if wide and all(columns.any() for columns in beyond):
                return Normalisation(name, f"a range of {low:g} to {high:g}", int(fits.sum()))
    return None


def is_standard(values: Floats) -> Mask:
    """(features,) whether mean is 0 and standard deviation 1, by either definition of it."""
    num_rows = len(values)
    if num_rows < FEWEST_ROWS:
        return np.zeros(values.shape[1], dtype=bool)
    deviation = values.std(axis=0)
    of_sample = deviation * np.sqrt(num_rows / (num_rows - 1))
    exact: Mask = (np.abs(values.mean(axis=0)) < EXACT) & (
        (np.abs(deviation - 1) < EXACT) | (np.abs(of_sample - 1) < EXACT)
    )
    return exact


def has_range(values: Floats, low: float, high: float) -> Mask:
    """(features,) whether the least and the largest value are these; classes and counts are not."""
    if len(values) < FEWEST_ROWS:
        return np.zeros(values.shape[1], dtype=bool)
    at_ends = (np.abs(values.min(axis=0) - low) < EXACT_RANGE) & (
        np.abs(values.max(axis=0) - high) < EXACT_RANGE
    )
    fits: Mask = at_ends.copy()
    fits[at_ends] = [len(np.unique(column)) > 10 for column in values.T[at_ends]]
    return fits


def find_normalised_groups(
    values: Floats, groups: Mapping[str, Places], finer: Sequence[Places] = ()
) -> list[str]:
    """Groups whose rows have mean 0 in most features that vary, whatever their spread.

    Args:
        values: (rows, features).
        groups: rows by name, e.g. of speakers.
        finer: rows of single clips. If these have mean 0 by themselves, so has any group of them,
            and nothing is said of it.
    """
    scale = values.std(axis=0)

    def is_centred(rows: Places) -> bool:
        varied = np.ptp(values[rows], axis=0) > 0
        centred = np.abs(values[rows].mean(axis=0)) < EXACT * scale
        return bool(varied.any() and (centred & varied).sum() > varied.sum() / 2)

    large = {name: rows for name, rows in groups.items() if len(rows) >= FEWEST_ROWS}
    own = [rows for rows in finer if len(rows) >= FEWEST_ROWS]
    if own and sum(map(is_centred, own)) > len(own) / 2:
        return []
    return [name for name, rows in large.items() if is_centred(rows)]
