"""Whose principal components a table holds: over the rows they come from they are uncorrelated.

Scaling or shifting of the columns afterwards leaves that as it is, and so does whitening.

Source: Hotelling 1933, "Analysis of a complex of statistical variables into principal components".
"""

from collections.abc import Mapping

import numpy as np

from ssl_audio.audit.normalised import (
    FEWEST_ROWS,
    Floats,
    Mask,
    Normalisation,
    Places,
    keep_measured,
)

FEWEST_COMPONENTS = 3
LEAST_CORRELATION = 1e-3
"""In units of what columns have by chance, one over the root of their rows: one pair in a thousand
is below it by chance, and three in one place never are."""
LEAST_SHARE = 0.9
"""Of the pairs of components; what little spread the last ones have may be lost to rounding."""


def find_leaked_components(
    values: Floats, innocent: Mapping[str, Places], leaking: Mapping[str, Places]
) -> Normalisation | None:
    """Whether components come from rows that they must not come from.

    Args:
        values: (rows, features).
        innocent: rows that components may come from, by name.
        leaking: rows that hold test rows, by name.
    """
    own = [is_uncorrelated(values[rows]) for rows in innocent.values()]
    for name, rows in leaking.items():
        pairs = is_uncorrelated(values[rows])
        for known in own:
            pairs &= ~known
        columns = np.flatnonzero(keep_measured(_gather(pairs), values[rows]))
        if len(columns) >= FEWEST_COMPONENTS:
            return Normalisation(name, "no correlation at all", columns)
    return None


def is_uncorrelated(values: Floats) -> Mask:
    """(features, features) whether two columns are; one that is constant is not, nor is any to few.

    Args:
        values: (rows, features).
    """
    num_features = values.shape[1]
    deviation = values.std(axis=0) if len(values) else np.zeros(num_features)
    varied = deviation > 0
    if len(values) <= max(FEWEST_ROWS, varied.sum()):
        return np.zeros((num_features, num_features), dtype=bool)
    scaled = (values - values.mean(axis=0)) / np.where(varied, deviation, 1)
    exact: Mask = np.abs(scaled.T @ scaled) < LEAST_CORRELATION * np.sqrt(len(values))
    exact &= varied & varied[:, None]
    np.fill_diagonal(exact, False)
    return exact


def _gather(pairs: Mask) -> Mask:
    """(features,) of which nearly every two are such a pair; none if there is no such group."""
    partners = pairs.sum(axis=0)
    chosen: Mask = partners >= max(FEWEST_COMPONENTS - 1, partners.max(initial=0) / 2)
    num_pairs = chosen.sum() * (chosen.sum() - 1)
    share = pairs[np.ix_(chosen, chosen)].sum() / num_pairs if num_pairs else 0.0
    return chosen & (share >= LEAST_SHARE)
