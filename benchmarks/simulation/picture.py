"""Coverage of the intervals and size of the tests, design by design."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.figures.style import (
    BLUE,
    FONT_PT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAGE_MM,
    PALE,
    SKY,
    add_axes,
    new_figure,
    save_figure,
    wrap,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (SKY, "D"), (GREY, "v"), (INK, "P"), (INK, "x"))
"""Colours and marks of the methods, in their order."""
NAME_LETTERS = 33
"""Of a design in one line beside the axes."""
LINE_MM = 6.0
"""From one design to the next."""


def draw_coverage(summary: pd.DataFrame, path: Path) -> None:
    """One row for each design, one mark for each method, whiskers of 2 standard errors.

    Args:
        summary: columns design, quantity, method, value, standard_error.
        path: of the picture (png).
    """
    height = LINE_MM * summary["design"].nunique()
    figure = new_figure(PAGE_MM, height + 52)
    panels = (
        ("coverage", 46.0, (93, 97), "coverage of 95 % intervals, %"),
        ("size", 114.0, (0, 6), "size of tests at 5 %, %"),
    )
    for quantity, left, required, label in panels:
        axes = add_axes(figure, left, 4, 58, height)
        _draw_panel(axes, summary[summary["quantity"] == quantity], required)
        axes.set_xlabel(label, fontsize=FONT_PT)
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -12 / height),
            fontsize=FONT_PT,
            frameon=False,
            borderaxespad=0,
        )
        if quantity == "size":
            axes.set_yticklabels([])
    save_figure(figure, path)


def _draw_panel(axes: "Axes", rows: pd.DataFrame, required: tuple[float, float]) -> None:
    designs = list(dict.fromkeys(rows["design"]))
    axes.axvspan(*required, color=PALE, zorder=0, label="required with 24 speakers")
    methods = list(dict.fromkeys(rows["method"]))
    for number, (method, (color, mark)) in enumerate(zip(methods, LOOKS, strict=False)):
        own = rows[rows["method"] == method]
        shift = 0.7 * ((number + 0.5) / len(methods) - 0.5)
        axes.errorbar(
            100 * own["value"],
            [designs.index(design) + shift for design in own["design"]],
            xerr=200 * own["standard_error"],
            fmt=mark,
            color=color,
            markersize=3,
            linewidth=0.7,
            label=method,
        )
    axes.set_yticks(range(len(designs)), [wrap(design, NAME_LETTERS) for design in designs])
    axes.set_ylim(len(designs) - 0.5, -0.5)
    axes.tick_params(labelsize=FONT_PT, length=2)
    axes.spines[["top", "right"]].set_visible(False)
