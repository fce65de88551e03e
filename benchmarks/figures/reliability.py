"""How often decisions were right by how sure they were."""

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures.style import (
    BLUE,
    COLUMN_MM,
    DPI,
    FONT_PT,
    GREY,
    LINE_MM,
    MM_PER_INCH,
    ORANGE,
    PAGE_MM,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 10
"""Judged clips, below which the accuracy of a bin says little."""
LEFT_MM, DIAGRAM_MM, BETWEEN_MM, HISTOGRAM_MM, BELOW_MM = 13, 24, 2, 8, 9
"""Left of the first diagram; heights of a diagram, the gap, its histogram, the numbers below."""


def draw_reliability(section: Section) -> "Figure":
    """A diagram for each system: accuracy by confidence, and below it how many decisions.

    Where a system ran with several seeds, a clip counts once for each. Source: Guo et al. 2017,
    "On Calibration of Modern Neural Networks", figure 1; points stand at a bin's mean confidence.
    """
    num_columns = min(4 if len(section.rows) <= 12 else 5, len(section.rows))
    width = COLUMN_MM if num_columns < 3 else PAGE_MM
    titles = [wrap(row.about.system, 24 if num_columns < 5 else 19) for row in section.rows]
    heading = wrap(section.protocol, width // 2)
    top_mm = 4 + 1.2 * LINE_MM * count_lines(heading)
    title_mm = LINE_MM * (1 + max(map(count_lines, titles))) + 2
    line_mm = title_mm + DIAGRAM_MM + BETWEEN_MM + HISTOGRAM_MM + BELOW_MM
    legend_mm = 5 * (3 if width == COLUMN_MM else 1)
    figure = new_figure(width, top_mm + line_mm * -(-len(titles) // num_columns) + legend_mm + 2)
    write_heading(figure, heading)
    step_mm = (width - LEFT_MM) / num_columns
    for place, (row, title) in enumerate(zip(section.rows, titles, strict=True)):
        line, column = divmod(place, num_columns)
        left, top = LEFT_MM + column * step_mm, top_mm + line * line_mm + title_mm
        above = add_axes(figure, left, top, step_mm - 8, DIAGRAM_MM)
        top += DIAGRAM_MM + BETWEEN_MM
        below = add_axes(figure, left, top, step_mm - 8, HISTOGRAM_MM)
        error = 100 * row.estimates["calibration_error"].value
        above.set_title(f"{title}\nECE {error:.1f}", fontsize=FONT_PT, pad=3)
        _draw_accuracy(above, row)
        _draw_shares(below, row)
        _label(above, below, column == 0)
    _add_legend(figure, 1 if width == COLUMN_MM else 3)
    return figure


def _draw_accuracy(axes: "Axes", row: Row) -> None:
    """The gaps to the diagonal are what the ECE averages."""
    used = row.calibration[row.calibration[:, 0] > 0]
    counts, confidence, accuracy = used[:, 0], *(100 * used[:, 1:] / used[:, :1]).T
    dress(axes, "both")
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle="--")
    axes.vlines(confidence, confidence, accuracy, color=ORANGE, linewidth=2, clip_on=False)
    for those, inside in ((counts >= FEW, BLUE), (counts < FEW, "white")):
        points = confidence[those], accuracy[those]
        axes.plot(*points, "o", color=BLUE, markersize=3.5, mfc=inside, clip_on=False)
    axes.set_ylim(-3, 103)
    axes.set_yticks([0, 50, 100])


def _draw_shares(axes: "Axes", row: Row) -> None:
    counts = row.calibration[:, 0]
    edges = np.linspace(0, 100, len(counts) + 1)
    dress(axes, "y")
    shares = 100 * counts / counts.sum()
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color=SKY)
    axes.set_yticks([0, shares.max()], ["0", f"{shares.max():.0f}"])
    axes.set_ylim(0, 1.1 * shares.max())


def _label(above: "Axes", below: "Axes", is_first: bool) -> None:
    """How tall a histogram is differs from one to the next; the other scales are the same."""
    for axes in (above, below):
        axes.set_xlim(0, 100)
        axes.set_xticks([0, 50, 100])
    above.tick_params(labelbottom=False, labelleft=is_first)
    below.set_xlabel("confidence, %", fontsize=FONT_PT, labelpad=1)
    if is_first:
        above.set_ylabel("accuracy, %", fontsize=FONT_PT)
        below.set_ylabel("share, %", fontsize=FONT_PT)
        # Numbers differ in length from one to the other; their titles stand in one line.
        for axes in (above, below):
            axes.yaxis.set_label_coords(-9 / MM_PER_INCH * DPI / axes.bbox.width, 0.5)


def _add_legend(figure: "Figure", num_columns: int) -> None:
    from matplotlib.lines import Line2D

    def entry(inside: str, text: str) -> Line2D:
        return Line2D([], [], color=BLUE, marker="o", ls="", ms=3.5, mfc=inside, label=text)

    entries = [
        entry(BLUE, "decisions of one bin"),
        entry("white", f"under {FEW} decisions"),
        Line2D([], [], color=ORANGE, lw=2, label="gap to what was claimed"),
    ]
    figure.legend(
        handles=entries, loc="lower center", ncols=num_columns, fontsize=FONT_PT, frameon=False
    )
