"""How well each gender's speakers are understood, and the gap between them. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.weightstats import CompareMeans

from benchmarks.scoring import Row
from benchmarks.statistics import Estimate, Floats, pooled_estimate, pseudo_values
from finetune import metrics

GENDERS = ("female", "male")


@dataclass(frozen=True)
class GenderScores:
    """UAR of one system by gender."""

    by_gender: dict[str, Estimate]
    """Pooled over the speakers of each of ``GENDERS``."""
    gap: Estimate
    """Female minus male."""


def score_genders(row: Row, genders: Mapping[str, str]) -> GenderScores | None:
    """A row's UAR by gender; None unless every speaker's is known and each gender has two.

    The interval of the gap is Welch's, from the speakers' pseudo-values, around the difference of
    the pooled scores.

    Args:
        row: scored, with or without known speakers.
        genders: by speaker.
    """
    if any(speaker not in genders for speaker in row.by_speaker):
        return None
    confusions = {
        gender: [one for speaker, one in row.by_speaker.items() if genders[speaker] == gender]
        for gender in GENDERS
    }
    if any(len(those) < 2 for those in confusions.values()):
        return None
    stacks = {gender: np.stack(those) for gender, those in confusions.items()}
    by_gender = {gender: pooled_estimate(stack, metrics.uar) for gender, stack in stacks.items()}
    female, male = (by_gender[gender].value for gender in GENDERS)
    half = _half_width(*(pseudo_values(stacks[gender], metrics.uar) for gender in GENDERS))
    return GenderScores(
        by_gender, Estimate(female - male, female - male - half, female - male + half)
    )


def _half_width(first: Floats, second: Floats) -> float:
    """Of Welch's 95 % interval of a difference of means; 0 where nobody differs."""
    if np.ptp(first) < 1e-12 and np.ptp(second) < 1e-12:
        return 0.0
    low, high = CompareMeans.from_data(first, second).tconfint_diff(usevar="unequal")
    return float(high - low) / 2
