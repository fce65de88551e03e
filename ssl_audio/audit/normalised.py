"""Whose statistics a table of features was normalised with, recomputed from its rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
FEWEST_EXTREMES = 4
"""Least and largest value of a share are 0 and 1 too, so more columns must be so."""
FEWEST_ROWS = 3
"""Of whoever is said to be normalised."""
FEWEST_VALUES, ENOUGH_VALUES = 10, 1000
"""Different ones in a column, of few rows and of many, else it holds counts or classes: their
medians and ranges are small whole numbers by nature, and in a balanced corpus uncorrelated."""
LEAST_SHARE_OF_VALUES = 0.3
"""Of different values in the rows between."""
SAME = 1e-9
"""Values this near are one value, computed twice."""
LEAST_SHARE_HELD_ONCE = 0.9
"""Of the columns with these extremes, those that hold each once: of clipped ones most do not."""
LEAST_SHARE_OF_ROWS = 0.9
"""That hold an extreme, if each was scaled by itself."""
LEAST_SHARE_OF_EXPECTED = 0.25
"""Of the columns whose extreme lies outside train by chance: loud speakers hold many at once."""


@dataclass(frozen=True)
class Constants:
    """What normalised columns look like over the rows that their constants come from."""

    how: str
    fit: Callable[[Floats], Mask]
    """Of (rows, features), whether each column looks so."""
    share_of_group: float = 0.5
    """Of the features of a group that must look so, where whole groups are looked at."""

    def find(self, values: Floats) -> Mask:
        """(features,) which columns look so, and not because they hold classes."""
        return keep_measured(self.fit(values), values)


class Moments(Constants):
    """Classes don't have a mean of 0 by nature."""

    def find(self, values: Floats) -> Mask:
        """See Constants."""
        return self.fit(values)


@dataclass(frozen=True)
class Extremes(Constants):
    """What single rows hold: few groups have those of nearly all features by chance.

    Constants of the rows put one row, and copies of it, at each end of a column. Clipping puts
    none or many there, and scaling row by row as many as there are rows.
    """

    share_of_group: float = 0.9
    sizes: tuple[Callable[[Floats], Floats], ...] = (np.negative, np.positive)
    """Of values, each largest at one end."""

    def find(self, values: Floats) -> Mask:
        """See Constants."""
        columns = super().find(values)
        if not columns.any() or self._is_by_row(values, columns):
            return np.zeros_like(columns)
        once = columns.copy()
        once[columns] = [
            all(_is_held_once(size(values[:, column]), values) for size in self.sizes)
            for column in np.flatnonzero(columns)
        ]
        return once if once.sum() >= LEAST_SHARE_HELD_ONCE * columns.sum() else once & False

    def _is_by_row(self, values: Floats, columns: Mask) -> bool:
        """Whether nearly every row holds each end, as rows do that were scaled by themselves."""
        num_rows, num_features = values.shape
        if num_features > num_rows:
            return False  # so many columns have extremes in every row, whatever was scaled
        measured = values[:, keep_measured(np.ones_like(columns), values)]
        ends = [size(values[:, columns]).max() for size in self.sizes]
        holds = np.all(
            [
                (np.abs(size(measured) - end) < EXACT_RANGE).any(axis=1)
                for size, end in zip(self.sizes, ends, strict=True)
            ],
            axis=0,
        )
        return bool(holds.mean() >= LEAST_SHARE_OF_ROWS)


@dataclass(frozen=True)
class Normalisation:
    """Rows that a table was normalised with."""

    population: str
    """E.g. ``train and test``."""
    how: str
    """E.g. ``mean 0 and standard deviation 1``."""
    columns: Places
    """Of the features that show it."""


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


def is_robust(values: Floats) -> Mask:
    """(features,) whether the median is 0 and the quartiles are 1 apart."""
    if len(values) < FEWEST_ROWS:
        return np.zeros(values.shape[1], dtype=bool)
    low, middle, high = np.percentile(values, (25, 50, 75), axis=0)
    exact: Mask = (np.abs(middle) < EXACT) & (np.abs(high - low - 1) < EXACT)
    return exact


def has_range(low: float, high: float, values: Floats) -> Mask:
    """(features,) whether the least and the largest value are these."""
    if len(values) < FEWEST_ROWS:
        return np.zeros(values.shape[1], dtype=bool)
    at_low = np.abs(values.min(axis=0) - low) < EXACT_RANGE
    at_high = np.abs(values.max(axis=0) - high) < EXACT_RANGE
    exact: Mask = at_low & at_high
    return exact


def has_magnitude(values: Floats) -> Mask:
    """(features,) whether the largest magnitude is 1."""
    if len(values) < FEWEST_ROWS:
        return np.zeros(values.shape[1], dtype=bool)
    exact: Mask = np.abs(np.abs(values).max(axis=0) - 1) < EXACT_RANGE
    return exact


STANDARD = Moments("mean 0 and standard deviation 1", is_standard)
ROBUST = Constants("median 0 and quartiles 1 apart", is_robust)
CENTRES = (STANDARD, ROBUST)
"""That any change of the rows changes."""
NORMAL_QUANTILE = 5.199337582605575
"""Of 1e-7, where scikit-learn's QuantileTransformer cuts a normal distribution."""
EXTREMES = (
    *(
        Extremes(f"a range of {low:.4g} to {high:.4g}", partial(has_range, low, high))
        for low, high in ((0.0, 1.0), (-1.0, 1.0), (-NORMAL_QUANTILE, NORMAL_QUANTILE))
    ),
    Extremes("a largest magnitude of 1", has_magnitude, sizes=(np.abs,)),
)
"""That single rows hold."""


def find_leaked_constants(
    values: Floats, innocent: Mapping[str, Places], leaking: Mapping[str, Places]
) -> Normalisation | None:
    """Whether constants come from rows that they must not come from.

    Args:
        values: (rows, features).
        innocent: rows that constants may come from, by name.
        leaking: rows that hold test rows, by name.
    """
    large = {name: rows for name, rows in leaking.items() if len(rows) >= FEWEST_ROWS}
    own = [values[rows] for rows in innocent.values()]
    num_features = values.shape[1]
    for constants in CENTRES:
        for name, rows in large.items():
            exact = constants.find(values[rows])
            for population in own:
                exact &= ~constants.fit(population)
            if exact.sum() >= min(FEWEST_COLUMNS, num_features):
                return Normalisation(name, constants.how, np.flatnonzero(exact))
    for constants in EXTREMES:
        fits = {name: constants.find(values[rows]) for name, rows in large.items()}
        # A part of the rows may hold the extremes of some features.
        name = max(fits, key=lambda name: fits[name].sum(), default="")
        if not name or fits[name].sum() < max(FEWEST_EXTREMES, num_features / 2):
            continue
        exact = fits[name]
        if all(
            (exact & ~constants.fit(values[rows])).sum()
            >= _count_fewest_outside(int(exact.sum()), large[name], rows)
            for rows in innocent.values()
        ):
            return Normalisation(name, constants.how, np.flatnonzero(exact))
    return None


def _count_fewest_outside(num_columns: int, rows: Places, innocent: Places) -> float:
    """Columns whose extremes innocent rows must lack, by the share of rows that are not theirs."""
    share = 1 - np.isin(rows, innocent).mean()
    return max(1.0, float(LEAST_SHARE_OF_EXPECTED * share * num_columns))


def _is_held_once(sizes: Floats, values: Floats) -> bool:
    """Whether one row has the largest size, or several that are equal in every feature.

    Args:
        sizes: (rows,) of one column.
        values: (rows, features).
    """
    places = np.flatnonzero(sizes >= sizes.max() - SAME)
    return bool((values[places[1:]] == values[places[0]]).all())


def keep_measured(columns: Mask, values: Floats) -> Mask:
    """Of some columns those that take many values, as no class and no small count does.

    Args:
        columns: (features,) which ones.
        values: (rows, features).
    """
    few = min(FEWEST_VALUES, len(values))
    fewest = max(few, min(LEAST_SHARE_OF_VALUES * len(values), ENOUGH_VALUES))
    kept = columns.copy()
    kept[columns] = [len(np.unique(column)) >= fewest for column in values.T[columns]]
    return kept


def find_normalised_groups(
    values: Floats, groups: Mapping[str, Places], finer: Sequence[Places] = ()
) -> tuple[str, list[str]]:
    """Groups whose own statistics most features that vary were normalised with.

    Args:
        values: (rows, features).
        groups: rows by name, e.g. of speakers.
        finer: rows of single clips. If these are normalised by themselves, so is any group of
            them, and nothing is said of it.

    Returns:
        How, e.g. ``mean 0``, and the groups; of several ways the one that most groups show.
    """
    large = {name: rows for name, rows in groups.items() if len(rows) >= FEWEST_ROWS}
    own = [rows for rows in finer if len(rows) >= FEWEST_ROWS]
    found: dict[str, list[str]] = {}
    for constants in OF_GROUPS:

        def shows(rows: Places, constants: Constants = constants) -> bool:
            varied = np.ptp(values[rows], axis=0) > 0
            fits = constants.find(values[rows]) & varied
            return bool(fits.sum() > varied.sum() * constants.share_of_group)

        if not own or sum(map(shows, own)) <= len(own) / 2:
            found[constants.how] = [name for name, rows in large.items() if shows(rows)]
    how = max(found, key=lambda how: len(found[how]), default="")
    return how, found.get(how, [])


def is_centred(values: Floats) -> Mask:
    """(features,) whether the mean is 0: over a group that tells enough, whatever the spread."""
    centred: Mask = np.abs(values.mean(axis=0)) < EXACT * values.std(axis=0)
    return centred


OF_GROUPS = (Moments("mean 0", is_centred), ROBUST, *EXTREMES)
