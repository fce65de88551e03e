"""Learning curves as a picture: UAR of a probe over the processor's minutes."""

from pathlib import Path

import pandas as pd

from benchmarks.figures.style import (
    BLUE,
    FONT_PT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAGE_MM,
    SKY,
    new_figure,
    save_figure,
    wrap,
)
from benchmarks.results import slug

COLOURS = (BLUE, ORANGE, GREEN, SKY, "#CC79A7", "#D55E00", INK)
MARKS = "osD^vPX"
UNTRAINED = "untrained"
"""Name of the encoder before any run."""
_LETTERS = 30
"""On a line beside the curves."""


def draw_curves(table: pd.DataFrame, output: Path) -> list[Path]:
    """One picture a protocol and probe: the best level of each run at its end, over time.

    The level is the one that is best at the run's last step, for all of its points, so that a
    curve is of one level and begins where the untrained encoder has it. Lines across are of
    log-mel statistics and of the untrained encoder at its best level.

    Args:
        table: readings.
        output: folder of the pictures.
    """
    paths = []
    for (protocol, probe), readings in table.groupby(["protocol", "probe"]):
        path = output / f"{slug(str(protocol))}__{probe}.png"
        _draw(readings, f"{protocol}, {probe} probe", path)
        paths.append(path)
    return paths


def _draw(readings: pd.DataFrame, title: str, path: Path) -> None:
    figure = new_figure(PAGE_MM, 90)
    axes = figure.add_axes((0.08, 0.15, 0.62, 0.75))
    plain = readings[readings["level"] < 0]
    if len(plain):
        axes.axhline(
            100 * plain["uar"].iloc[0], color=GREY, linestyle="--", label=plain["run"].iloc[0]
        )
    is_untrained = readings["run"] == UNTRAINED
    untrained = readings[is_untrained]
    best = untrained["uar"].max()
    axes.axhline(100 * best, color=GREY, linestyle=":", label=f"{UNTRAINED}, its best level")
    runs = readings[(readings["level"] >= 0) & ~is_untrained].groupby("run", sort=False)
    for (_, run), colour, mark in zip(runs, COLOURS * 3, MARKS * 3, strict=False):
        last = run[run["step"] == run["step"].max()]
        level = last.loc[last["uar"].idxmax(), "level"]
        start = untrained[untrained["level"] == level]
        curve = pd.concat([start, run[run["level"] == level].sort_values("step")])
        minutes = curve["processor_seconds"] / 60
        axes.plot(
            minutes,
            100 * curve["uar"],
            color=colour,
            marker=mark,
            markersize=4,
            label=wrap(f"{run['run'].iloc[0]}, level {level}", _LETTERS),
        )
        axes.fill_between(
            minutes, 100 * curve["ci_low"], 100 * curve["ci_high"], color=colour, alpha=0.08
        )
    axes.set_title(title, fontsize=FONT_PT + 1, loc="left")
    axes.set_xlabel("minutes of one processor core", fontsize=FONT_PT)
    axes.set_ylabel("UAR, %", fontsize=FONT_PT)
    axes.tick_params(labelsize=FONT_PT)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=FONT_PT - 1, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    save_figure(figure, path)
