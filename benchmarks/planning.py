"""How many speakers and seeds a difference needs to be seen. Imports no torch.

The error of a difference paired over speakers has three parts: how far speakers differ in it,
which more speakers average out; how far a seed moves all speakers alike, which more seeds average
out; and how far each seed moves each speaker in its own way, which more of either average out.
"""

import json
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

from benchmarks.statistics import detectable_effect
from benchmarks.variation import Spread, measure_spread
from ssl_audio.errors import UserError

SPEAKERS = (4, 8, 12, 24, 48, 96)
SEEDS = (1, 2, 3, 5, 10)
MOST = 100_000
"""Speakers or seeds; what needs more is out of reach."""


@dataclass(frozen=True)
class Aim:
    """What is to be seen, and how surely."""

    difference: float
    """Of pooled UAR, in [0, 1]."""
    power: float = 0.8
    alpha: float = 0.05
    comparisons: int = 1
    """Pairs that share ``alpha``: the first step of Holm's correction."""
    folds: int | None = None
    """Of the evaluation, whose error has folds - 1 degrees of freedom where the folds scatter more
    than their speakers; None where each speaker is a fold."""

    def __post_init__(self) -> None:
        if not 0 < self.difference < 1:
            raise UserError(
                f"--difference must be between 0 and 100 points, got {100 * self.difference:g}"
            )
        for name in ("power", "alpha"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"--{name} must be between 0 and 1, got {getattr(self, name):g}")
        if self.power <= self.alpha:
            raise UserError(f"--power must be above --alpha, got {self.power:g} and {self.alpha:g}")


@dataclass(frozen=True)
class Plan:
    """What each number of speakers and seeds resolves, and what the aim needs."""

    spread: Spread
    aim: Aim
    resolved: tuple[tuple[float, ...], ...]
    """(len(SPEAKERS), len(SEEDS)) differences found with the aim's power, in [0, 1]."""
    speakers_needed: tuple[int | None, ...]
    """For each of ``SEEDS``; None where no number of speakers is enough."""
    seeds_needed: tuple[int | None, ...]
    """For each of ``SPEAKERS``; None where no number of seeds is enough."""


def make_plan(spread: Spread, aim: Aim) -> Plan:
    """Answers for the usual numbers of speakers and seeds.

    Raises:
        UserError: speakers that do not differ.
    """
    if spread.speaker_sd == spread.speaker_seed_sd == 0:
        raise UserError(
            f"the difference is the same for every speaker ({spread.source}): nothing to plan"
        )
    return Plan(
        spread,
        aim,
        tuple(tuple(resolve(spread, aim, n, seeds) for seeds in SEEDS) for n in SPEAKERS),
        tuple(count_speakers(spread, aim, seeds) for seeds in SEEDS),
        tuple(count_seeds(spread, aim, speakers) for speakers in SPEAKERS),
    )


def count_speakers(spread: Spread, aim: Aim, num_seeds: int) -> int | None:
    """The fewest that reach the aim with so many seeds; None where none do."""
    return _fewest(2, lambda number: resolve(spread, aim, number, num_seeds) <= aim.difference)


def count_seeds(spread: Spread, aim: Aim, num_speakers: int) -> int | None:
    """The fewest that reach the aim with so many speakers; None where none do."""
    return _fewest(1, lambda number: resolve(spread, aim, num_speakers, number) <= aim.difference)


def resolve(spread: Spread, aim: Aim, num_speakers: int, num_seeds: int) -> float:
    """The difference that so many speakers and seeds show with the aim's power."""
    degrees = min(num_speakers, aim.folds or num_speakers) - 1
    error = predict_error(spread, num_speakers, num_seeds)
    return error * detectable_effect(degrees, aim.alpha / aim.comparisons, aim.power)


def predict_error(spread: Spread, num_speakers: int, num_seeds: int) -> float:
    """Standard error of a difference pooled over so many speakers, of the mean over the seeds."""
    return sqrt(
        spread.speaker_sd**2 / num_speakers
        + spread.seed_sd**2 / num_seeds
        + spread.speaker_seed_sd**2 / (num_speakers * num_seeds)
    )


def choose_spread(
    results: Path | None,
    first: str | None,
    second: str | None,
    protocol: str | None,
    speaker_points: float | None,
    seed_points: float | None,
) -> tuple[Spread, int | None]:
    """The spread of two rows, or the one that is given in points, with the folds if known.

    Raises:
        UserError: neither or both, half of either, or standard deviations that can't be.
    """
    if results is None:
        if speaker_points is None:
            raise UserError("give --speaker-sd, or --results with --first and --second")
        if not first is second is protocol is None:
            raise UserError("--first, --second and --protocol need --results")
        seed_points = seed_points or 0.0
        for option, points in (("--speaker-sd", speaker_points), ("--seed-sd", seed_points)):
            if not 0 <= points < 100:
                raise UserError(f"{option} must be from 0 to 100 points, got {points:g}")
        return Spread(speaker_points / 100, seed_points / 100, 0.0, "as given"), None
    if speaker_points is not None or seed_points is not None:
        raise UserError("--speaker-sd and --seed-sd are measured where --results is given")
    if first is None or second is None:
        raise UserError("--results needs --first and --second: the names of two rows")
    return measure_spread(results, first, second, protocol)


def _fewest(lowest: int, is_enough: Callable[[int], bool]) -> int | None:
    """The smallest number that is enough, where every larger one is too."""
    if not is_enough(MOST):
        return None
    return bisect_left(range(MOST), True, lo=lowest, key=is_enough)


def describe_plan(plan: Plan) -> str:
    """The plan as text for a terminal, in points of UAR."""
    spread, aim = plan.spread, plan.aim
    among = f", one of {aim.comparisons} comparisons (Holm)" if aim.comparisons > 1 else ""
    folds = f", {aim.folds} folds" if aim.folds else ""
    lines = [
        f"Differences between the systems scatter ({spread.source}), points (SD):",
        f"  {100 * spread.speaker_sd:5.1f} over speakers, each one's mean over many seeds",
        f"  {100 * spread.seed_sd:5.1f} over seeds, each one pooled over many speakers",
        f"  {100 * spread.speaker_seed_sd:5.1f} over speakers x seeds, beyond both",
        f"Found with {100 * aim.power:g} % power at {100 * aim.alpha:g} % two-sided{among}{folds}, "
        "points of UAR:",
        "",
        "speakers " + "".join(f"{_name(seeds, 'seed'):>10}" for seeds in SEEDS),
    ]
    for num_speakers, row in zip(SPEAKERS, plan.resolved, strict=True):
        lines.append(f"{num_speakers:>8} " + "".join(f"{100 * value:>10.1f}" for value in row))
    lines += ["", f"For {100 * aim.difference:g} points:"]
    for seeds, speakers in zip(SEEDS, plan.speakers_needed, strict=True):
        alone = f"more speakers can't help below {_points(resolve(spread, aim, MOST, seeds))}"
        answer = alone if speakers is None else _name(speakers, "speaker")
        lines.append(f"  with {_name(seeds, 'seed')}: {answer}")
    for speakers, needed in zip(SPEAKERS, plan.seeds_needed, strict=True):
        alone = f"more seeds can't help below {_points(resolve(spread, aim, speakers, MOST))}"
        answer = alone if needed is None else _name(needed, "seed")
        lines.append(f"  with {_name(speakers, 'speaker')}: {answer}")
    return "\n".join(lines)


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"


def _name(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' * (count > 1)}"


def write_plan(plan: Plan, path: Path) -> None:
    """The plan as JSON; differences and standard deviations are in [0, 1]."""
    content = {**asdict(plan), "speakers": SPEAKERS, "seeds": SEEDS}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
