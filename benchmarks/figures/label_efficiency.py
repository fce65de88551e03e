"""What labels are worth: the headline against the share of the training clips learnt from."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.figures.style import (
    BLUE,
    COLUMN_MM,
    FONT_PT,
    GREEN,
    GREY,
    LINE_MM,
    ORANGE,
    SKY,
    add_axes,
    count_lines,
    dress,
    new_figure,
    wrap,
    write_heading,
)
from benchmarks.scoring import Row, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (SKY, "D"), (GREY, "v"))
"""Colour and mark of each system; with more of them they begin anew."""
HEADLINE = "uar"
LEFT_MM, PLOT_MM, SCALE_MM = 13, 52, 11
SPREAD = 0.03
"""How far apart the systems' points at one share stand, as a factor, so that intervals show."""


def name_of_share(share: float) -> str:
    """What a row's name says of the part of the labels that it learns from."""
    return f", {share:.0%} of the labels"


def draw_label_efficiency(section: Section) -> "Figure | None":
    """A line for each system that learnt from several shares of its training clips.

    Bars are the intervals of the table.

    Returns:
        None where no system did.
    """
    curves = _find_curves(section.rows)
    if not curves:
        return None
    names = [wrap(name, 48) for name in curves]
    heading = wrap(section.protocol, 46)
    top_mm = 3 + 1.2 * LINE_MM * count_lines(heading)
    legend_mm = 2 + 1.3 * LINE_MM * sum(map(count_lines, names))
    figure = new_figure(COLUMN_MM, top_mm + PLOT_MM + SCALE_MM + legend_mm)
    write_heading(figure, heading)
    axes = add_axes(figure, LEFT_MM, top_mm, COLUMN_MM - LEFT_MM - 3, PLOT_MM)
    for place, (name, rows) in enumerate(zip(names, curves.values(), strict=True)):
        color, mark = STYLES[place % len(STYLES)]
        shift = (1 + SPREAD) ** (place - (len(curves) - 1) / 2)
        shares = [100 * row.about.training_share * shift for row in rows]
        estimates = [row.estimates[HEADLINE] for row in rows]
        values = [100 * estimate.value for estimate in estimates]
        axes.plot(shares, values, color=color, marker=mark, markersize=4, linewidth=1, label=name)
        for share, estimate in zip(shares, estimates, strict=True):
            if estimate.low is not None and estimate.high is not None:
                ends = [100 * estimate.low, 100 * estimate.high]
                axes.plot([share, share], ends, color=color, linewidth=0.8)
    ticks = sorted(
        {round(100 * row.about.training_share, 1) for rows in curves.values() for row in rows}
    )
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("labels of the training clips, %", fontsize=FONT_PT)
    axes.set_ylabel("UAR, %", fontsize=FONT_PT)
    dress(axes, grid="y")
    height_mm = top_mm + PLOT_MM + SCALE_MM + legend_mm
    figure.legend(
        loc="lower left",
        bbox_to_anchor=(LEFT_MM / COLUMN_MM, 0.5 / height_mm),
        fontsize=FONT_PT,
        frameon=False,
        borderaxespad=0,
    )
    return figure


def _find_curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the system's name without its share, from few labels to many."""
    curves: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        share = row.about.training_share
        curves[row.about.system.removesuffix(name_of_share(share))].append(row)
    return {
        name: sorted(found, key=lambda row: row.about.training_share)
        for name, found in sorted(curves.items())
        if len({row.about.training_share for row in found}) > 1
    }
