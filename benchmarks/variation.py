"""How far the difference of two rows scatters over speakers and over seeds. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from benchmarks.comparisons import compare_all
from benchmarks.results import SystemResult, load_results
from benchmarks.statistics import Floats, confusion_by, pseudo_values
from finetune import metrics
from ssl_audio.errors import UserError


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the difference of two systems' UAR, in [0, 1]."""

    speaker_sd: float
    """Over speakers, were it the mean over many seeds."""
    seed_sd: float
    """Over seeds (one fit of every fold each), were it pooled over many speakers."""
    speaker_seed_sd: float
    """Of what is left: how far a speaker's difference with one seed is from what the speaker and
    the seed alone would make it."""
    source: str
    """Where they come from."""


def measure_spread(
    results: Path, first: str, second: str, protocol: str | None = None
) -> tuple[Spread, int]:
    """The standard deviations from predictions that are there.

    Args:
        results: folder.
        first: name of a row.
        second: name of another one, of the same tests.
        protocol: of both; needed only where both ran under several.

    Returns:
        The spread and the number of folds.

    Raises:
        UserError: rows that are not there or can't be compared over speakers.
    """
    pair = _choose_rows(load_results(results), results, (first, second), protocol)
    num_folds = int(pair[0].frame["fold"].nunique())
    if num_folds < 2 or compare_all(pair)[0].error is None:
        raise UserError(
            f"{first} and {second} can't be compared over speakers in {results}: expected the same "
            "clips with every seed, of at least two known speakers, in the same two or more folds"
        )
    first_values, second_values = (_contributions_by_seed(result) for result in pair)
    source = _describe_source(first, second, first_values, second_values, results)
    spread = estimate_spread(first_values, second_values, source)
    return spread, num_folds


def estimate_spread(
    first: Mapping[int, Floats], second: Mapping[int, Floats], source: str
) -> Spread:
    """Parts of the variance of a difference, by the mean squares of speakers x seeds.

    Where both systems have the same seeds, the differences of each seed are laid out; elsewhere
    each system is by itself, its fits independent of the other's, and the parts add up. A system
    with one seed counts as the same with every seed. Estimates below 0 become 0.

    Two speakers of one fold share a fit and its luck. What a seed does to all speakers is the mean
    covariance of two of them, near what one fold's luck does to the pooled difference; of 24
    speakers in 6 folds it is 3/23 of that luck's variance, and 1/6 would be exact.

    Source: Searle, Casella and McCulloch 1992, "Variance Components", chapter 4: the two-way
    random model of balanced data, one observation in each cell.

    Args:
        first: (speakers,) float64 contributions to the score of one system, by seed.
        second: the same speakers' to the other's.
        source: where they come from.
    """
    own, other = np.stack([*first.values()]), np.stack([*second.values()])
    layouts = [own - other] if first.keys() == second.keys() else [own, other]
    layouts = [values for values in layouts if len(values) > 1]
    parts = [(*_split_seeds(values), len(values)) for values in layouts]
    pooled = own.mean(axis=0) - other.mean(axis=0)
    # What is left in the mean over seeds differs from speaker to speaker, but is not theirs.
    by_chance = sum(rest / num_seeds for _, rest, num_seeds in parts)
    speakers = max(0.0, float(pooled.var(ddof=1)) - by_chance)
    seeds, left = (sum(part[place] for part in parts) for place in (0, 1))
    return Spread(sqrt(speakers), sqrt(seeds), sqrt(left), source)


def _split_seeds(values: Floats) -> tuple[float, float]:
    """Variance of what seeds do to all speakers, and of what is left; of (seeds, speakers)."""
    num_seeds, num_speakers = values.shape
    by_seed, by_speaker = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    left = values - by_seed - by_speaker + values.mean()
    rest = float(np.sum(left**2)) / ((num_seeds - 1) * (num_speakers - 1))
    return max(0.0, float(by_seed.var(ddof=1)) - rest / num_speakers), rest


def _choose_rows(
    systems: Sequence[SystemResult], results: Path, names: tuple[str, str], protocol: str | None
) -> list[SystemResult]:
    if names[0] == names[1]:
        raise UserError(f"--first and --second must be two rows, got {names[0]} twice")
    tables: dict[tuple[str, str], dict[str, SystemResult]] = {}
    for result in systems:
        about = result.about
        tables.setdefault((about.protocol, about.task), {})[about.system] = result
    holding = {
        table: rows
        for table, rows in tables.items()
        if {*names} <= {*rows} and protocol in (None, table[0])
    }
    if len(holding) > 1:
        known = ", ".join(name for name, _ in holding)
        raise UserError(f"{names[0]} and {names[1]} ran under {known}: choose with --protocol")
    if not holding:
        known = "; ".join(
            f"{name}: {', '.join(map(repr, rows))}" for (name, _), rows in tables.items()
        )
        where = f"under {protocol} in" if protocol else "under one protocol in"
        raise UserError(
            f"no rows {names[0]!r} and {names[1]!r} {where} {results}; there are {known}"
        )
    (rows,) = holding.values()
    return [rows[name] for name in names]


def _contributions_by_seed(result: SystemResult) -> dict[int, Floats]:
    """(speakers,) pseudo-values of the UAR, by seed."""
    seeds = result.frame["seed"].to_numpy()
    speakers = np.asarray(result.speakers, dtype=np.str_)
    labels, probabilities = result.labels, result.probabilities
    contributions = {}
    for seed in np.unique(seeds):
        own = seeds == seed
        confusion = confusion_by(labels[own], probabilities[own], speakers[own])
        contributions[int(seed)] = pseudo_values(confusion, metrics.uar)
    return contributions


def _describe_source(
    first: str,
    second: str,
    first_values: Mapping[int, Floats],
    second_values: Mapping[int, Floats],
    results: Path,
) -> str:
    by_name = {first: first_values, second: second_values}
    num_speakers = len(next(iter(first_values.values())))
    counts = f"{num_speakers} speakers, {len(first_values)} and {len(second_values)} seeds"
    once = [name for name, values in by_name.items() if len(values) == 1]
    unknown = f"; seeds of {' and '.join(once)} unknown, counted as alike" if once else ""
    return f"{first} and {second} in {results}: {counts}{unknown}"
