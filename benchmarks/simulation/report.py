"""What the trials show: results.csv, table.md, coverage.png."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.simulation.config import Design, SimulationConfig
from benchmarks.simulation.methods import INTERVALS, TESTS
from benchmarks.simulation.picture import draw_coverage

USED_INTERVAL = "jackknife t over speakers"
DIFFERENCE = "paired difference"
USED_TESTS = ("t with the larger error", "corrected t over folds")
"""Primary and secondary, as the tables have them."""
NUM_SPEAKERS = 24
"""Tested speakers that the requirement is for."""
COVERAGE_RANGE = (0.93, 0.97)
LARGEST_SIZE = 0.06

QUANTITIES = {
    "coverage": "Coverage of 95 % intervals, percent (Monte Carlo standard error)",
    "half width": "Half width of the intervals, points of UAR, median over trials",
    "size": "Size: two equal systems found different at 5 %, percent (standard error)",
    "size at 1 %": "Size at 1 %, percent (standard error)",
    "power": "Power: the weaker system found different at 5 %, percent (standard error)",
}


def write_report(
    config: SimulationConfig,
    trials: Mapping[str, pd.DataFrame],
    truths: Mapping[str, pd.DataFrame],
    output: Path,
) -> str:
    """Writes table, figure and numbers; returns the table, as Markdown.

    Args:
        config: of the simulation.
        trials: by design.
        truths: by design.
        output: folder.
    """
    summary = pd.concat(
        [summarise(name, trials[name], truths[name]) for name in config.designs], ignore_index=True
    )
    summary.to_csv(output / "results.csv", index=False, float_format="%.6f", lineterminator="\n")
    parts = ["# Do the intervals cover, and do the tests keep their size?", "", INTRODUCTION, ""]
    parts += [*_judge(config, summary), "", _describe_designs(config, trials, truths)]
    for quantity, title in QUANTITIES.items():
        parts += ["", f"## {title}", "", _tabulate(summary[summary["quantity"] == quantity])]
    text = "\n".join([*parts, ""])
    (output / "table.md").write_text(text, encoding="utf-8")
    draw_coverage(summary, output / "coverage.png")
    return text


INTRODUCTION = (
    "Speakers are drawn anew in every trial and classifiers are refitted on every fold. The true "
    "UAR is the mean over training sets and new speakers, from training sets drawn separately. "
    "Size is for two systems that are equal by symmetry; both hear the same speakers. Everything "
    "is in `config.yaml`, every number in `results.csv`; made by `python -m benchmarks simulate`."
)


def summarise(name: str, trials: pd.DataFrame, truths: pd.DataFrame) -> pd.DataFrame:
    """Rates of one design with their Monte Carlo standard errors.

    Args:
        name: of the design.
        trials: one row for each data set.
        truths: one row for each training set.

    Returns:
        Columns design, quantity, method, value, standard_error, num_trials.
    """
    # The first two systems are equal, so both tell the truth of either.
    truth = float(truths[["uar 0", "uar 1"]].to_numpy().mean())
    rows: list[tuple[str, str, pd.Series]] = []
    for method in INTERVALS:
        low, high = trials[f"low {method}"], trials[f"high {method}"]
        rows.append(("coverage", method, _covers(low, high, truth)))
        rows.append(("half width", method, (high - low) / 2))
    low, high = trials["low difference"], trials["high difference"]
    rows.append(("coverage", DIFFERENCE, _covers(low, high, truth - truths["uar 2"].mean())))
    rows.append(("half width", DIFFERENCE, (high - low) / 2))
    for method in TESTS:
        equal, weaker = trials[f"equal {method}"], trials[f"weaker {method}"]
        rows.append(("size", method, (equal < 0.05).where(equal.notna())))
        rows.append(("size at 1 %", method, (equal < 0.01).where(equal.notna())))
        rows.append(("power", method, (weaker < 0.05).where(weaker.notna())))
    return pd.DataFrame(
        [
            {
                "design": name,
                "quantity": quantity,
                "method": method,
                **_sum_up(quantity, values),
                "num_trials": len(values),
            }
            for quantity, method, values in (
                (quantity, method, values.astype(float)) for quantity, method, values in rows
            )
            if values.notna().all()
        ]
    )


def _sum_up(quantity: str, values: pd.Series) -> dict[str, float]:
    """A rate and its error; of widths the median, as a bootstrap-t of few speakers may explode."""
    if quantity == "half width":
        return {"value": float(values.median()), "standard_error": float("nan")}
    error = float(values.std(ddof=0) / np.sqrt(len(values)))
    return {"value": float(values.mean()), "standard_error": error}


def _covers(low: pd.Series, high: pd.Series, truth: float) -> pd.Series:
    return ((low <= truth) & (truth <= high)).where(low.notna())


def _judge(config: SimulationConfig, summary: pd.DataFrame) -> list[str]:
    """What is required of the methods that the tables use, and what was found."""
    at_24 = [name for name, design in config.designs.items() if _num_tested(design) == NUM_SPEAKERS]
    is_used = summary["method"].isin([USED_INTERVAL, DIFFERENCE, *USED_TESTS])
    lowest, highest = COVERAGE_RANGE
    covers = (summary["quantity"] == "coverage") & ~summary["value"].between(lowest, highest)
    exceeds = (summary["quantity"] == "size") & (summary["value"] > LARGEST_SIZE)
    here = summary["design"].isin(at_24)
    error = 2 * summary["standard_error"]
    unsure = (summary["quantity"] == "coverage") & (
        ~summary["value"].between(lowest + error, highest - error)
    ) | (summary["quantity"] == "size") & (summary["value"] > LARGEST_SIZE - error)
    wide, narrow = f"{100 * lowest:.0f} to {100 * highest:.0f} %", f"{100 * LARGEST_SIZE:.0f} %"
    return [
        f"- Used by the tables, intervals outside {wide} with {NUM_SPEAKERS} speakers: "
        + _list(summary[here & is_used & covers]),
        f"- Used by the tables, tests of a size above {narrow} with {NUM_SPEAKERS} speakers: "
        + _list(summary[here & is_used & exceeds]),
        "- Used by the tables, within these limits by less than two standard errors: "
        + _list(summary[here & is_used & unsure & ~covers & ~exceeds]),
        "- Used by the tables, either of these with other numbers of speakers: "
        + _list(summary[~here & is_used & (covers | exceeds)]),
        f"- Not used, intervals outside {wide} with {NUM_SPEAKERS} speakers: "
        + _list(summary[here & ~is_used & covers]),
        f"- Not used, tests of a size above {narrow} with {NUM_SPEAKERS} speakers: "
        + _list(summary[here & ~is_used & exceeds]),
    ]


def _list(rows: pd.DataFrame) -> str:
    found = [
        f"{row.method} ({row.design}: {_percent(row.value, row.standard_error)})"
        for row in rows.itertuples()
    ]
    return ("; ".join(found) or "none") + "."


def _num_tested(design: Design) -> int:
    return design.num_speakers * (design.tested_folds or design.num_folds) // design.num_folds


def _describe_designs(
    config: SimulationConfig,
    trials: Mapping[str, pd.DataFrame],
    truths: Mapping[str, pd.DataFrame],
) -> str:
    lines = [
        "| design | trials | true UAR, percent (standard error) | true difference to the weaker "
        "system, points | SD over speakers, points | SD over folds, points |",
        "|---|---|---|---|---|---|",
    ]
    for name in config.designs:
        uars = truths[name]
        equal = uars[["uar 0", "uar 1"]].mean(axis=1)
        spread = trials[name][["speaker sd", "fold sd"]].mean()
        folds = "" if spread.isna()["fold sd"] else f"{100 * spread['fold sd']:.1f}"
        lines.append(
            f"| {name} | {len(trials[name])} | {_percent(equal.mean(), equal.sem(), 2)} "
            f"| {100 * (equal - uars['uar 2']).mean():.1f} "
            f"| {100 * spread['speaker sd']:.1f} | {folds} |"
        )
    return "\n".join(lines)


def _tabulate(rows: pd.DataFrame) -> str:
    methods = list(dict.fromkeys(rows["method"]))
    lines = [f"| design | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for design, own in rows.groupby("design", sort=False):
        cells = {row.method: _percent(row.value, row.standard_error) for row in own.itertuples()}
        lines.append(f"| {design} | {' | '.join(cells.get(method, '') for method in methods)} |")
    return "\n".join(lines)


def _percent(value: float, error: float, digits: int = 1) -> str:
    within = "" if np.isnan(error) else f" ({100 * error:.{digits}f})"
    return f"{100 * value:.{digits}f}{within}"
