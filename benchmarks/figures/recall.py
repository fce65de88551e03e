"""Each speaker's UAR, and that of each gender with the gap between them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures.style import (
    BLUE,
    FONT_PT,
    GREY,
    HOLLOW,
    INK,
    LINE_MM,
    ORANGE,
    PAGE_MM,
    PALE,
    add_axes,
    count_lines,
    dress,
    face,
    new_figure,
    wrap,
    write_heading,
)
from benchmarks.genders import GenderScores, score_genders
from benchmarks.scoring import Row, Section
from benchmarks.statistics import Estimate
from finetune import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = {"female": ("o", ORANGE), "male": ("^", BLUE), "unknown": ("s", GREY)}
DOT_PT = 3.6
LANE_MM = 2.6
"""Height for the dots of one gender, or for the interval."""
NAMES_MM, PANELS_MM, BELOW_MM = 47, [66, 33, 29], 28
"""Width for names and for each panel; height below them for scales and legend."""


def draw_recall(section: Section) -> "Figure | None":
    """One row of dots for each system, a dot for each speaker, in the order of the table.

    Where every speaker's gender is known, the UAR of each gender and the gap stand beside them.

    Returns:
        None where no row knows at least two speakers.
    """
    rows = [row for row in section.rows if len(row.by_speaker) > 1]
    if not rows:
        return None
    genders = section.genders
    known = {genders.get(speaker, "unknown") for row in rows for speaker in row.by_speaker}
    kinds = [kind for kind in MARKS if kind in known]
    names = [wrap(row.about.system, 26) for row in rows]
    row_mm = max(LANE_MM * (len(kinds) + 1), LINE_MM * max(map(count_lines, names))) + 2
    heading = wrap(section.protocol, 90)
    top_mm = 3 + 1.2 * LINE_MM * count_lines(heading)
    figure = new_figure(PAGE_MM, top_mm + row_mm * len(rows) + BELOW_MM)
    write_heading(figure, heading)
    scores = [found for row in rows if (found := score_genders(row, genders))]
    widths = PANELS_MM if len(scores) == len(rows) else [sum(PANELS_MM)]
    starts = NAMES_MM + np.cumsum([0, *widths[:-1]])
    panels = [
        add_axes(figure, start, top_mm, width - 4, row_mm * len(rows))
        for start, width in zip(starts, widths, strict=True)
    ]
    for panel in panels:
        _stripe(panel, len(rows))
        panel.set_yticks(range(len(rows)), names if panel is panels[0] else [""] * len(rows))
    lanes = _lanes(kinds, LANE_MM / row_mm)
    _draw_speakers(panels[0], rows, genders, lanes)
    if len(panels) > 1:
        _draw_genders(panels[1], panels[2], rows, scores, lanes)
    _add_legend(figure, kinds, any(row.barred for row in rows), len(section.classes))
    return figure


def _lanes(kinds: Sequence[str], height: float) -> dict[str, float]:
    """Where in a row the dots of each kind and the interval are, 0 in its middle."""
    order = [*kinds[:1], "interval", *kinds[1:]]
    return {kind: (place - (len(order) - 1) / 2) * height for place, kind in enumerate(order)}


def _stripe(axes: "Axes", num_rows: int) -> None:
    dress(axes)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(num_rows - 0.5, -0.5)
    for place in range(0, num_rows, 2):
        axes.axhspan(place - 0.5, place + 0.5, color=PALE, linewidth=0, zorder=0)


def _draw_speakers(
    axes: "Axes", rows: Sequence[Row], genders: Mapping[str, str], lanes: Mapping[str, float]
) -> None:
    chance = 100 / len(rows[0].about.classes)
    axes.axvline(chance, color=GREY, linewidth=0.8, linestyle=":")
    for place, row in enumerate(rows):
        uars = {
            speaker: 100 * float(metrics.uar(confusion))
            for speaker, confusion in row.by_speaker.items()
        }
        for kind, (mark, color) in MARKS.items():
            values = sorted(
                u for speaker, u in uars.items() if genders.get(speaker, "unknown") == kind
            )
            if values:
                heights = place + lanes[kind] + _spread(values, lanes)
                axes.plot(
                    values, heights, mark, color=color, markersize=DOT_PT, mew=0.3, mec="white"
                )
        _draw_estimate(axes, row, row.estimates["uar"], place + lanes["interval"], "D", INK)
    axes.set_xlabel("UAR, %", fontsize=FONT_PT)


def _spread(values: Sequence[float], lanes: Mapping[str, float]) -> np.ndarray:
    """Moves dots that would cover each other up and down within their lane.

    Args:
        values: in percent, ascending.
        lanes: see ``_lanes``.
    """
    wide_apart = 1.4
    step = (max(lanes.values()) - min(lanes.values())) / (len(lanes) - 1) / 4
    last = dict.fromkeys((0, 1, -1), -np.inf)
    levels = []
    for value in values:
        free = [level for level, end in last.items() if value - end >= wide_apart]
        level = free[0] if free else min(last, key=lambda each: last[each])
        last[level] = value
        levels.append(level)
    return np.array(levels) * step


def _draw_genders(
    scores_axes: "Axes",
    gap_axes: "Axes",
    rows: Sequence[Row],
    scores: Sequence[GenderScores],
    lanes: Mapping[str, float],
) -> None:
    gap_axes.axvline(0, color=GREY, linewidth=0.8)
    for place, (row, score) in enumerate(zip(rows, scores, strict=True)):
        for gender, estimate in score.by_gender.items():
            mark, color = MARKS[gender]
            _draw_estimate(scores_axes, row, estimate, place + lanes[gender] / 2, mark, color)
        _draw_estimate(gap_axes, row, score.gap, place, "D", INK)
    scores_axes.set_xlabel("UAR by gender, %", fontsize=FONT_PT)
    gap_axes.set_xlabel("Gap, points:\nfemale minus male", fontsize=FONT_PT)


def _draw_estimate(
    axes: "Axes", row: Row, estimate: Estimate, height: float, mark: str, color: str
) -> None:
    if estimate.low is not None and estimate.high is not None:
        ends = [100 * estimate.low, 100 * estimate.high]
        axes.plot(ends, [height, height], color=color, linewidth=1.2, solid_capstyle="butt")
    axes.plot(
        [100 * estimate.value],
        [height],
        mark,
        color=color,
        markersize=4,
        markerfacecolor=face(row, color),
    )


def _add_legend(figure: "Figure", kinds: Sequence[str], hollow: bool, num_classes: int) -> None:
    from matplotlib.lines import Line2D

    def entry(
        mark: str, color: str, text: str, size: float = DOT_PT, inside: str | None = None
    ) -> Line2D:
        filled = inside or color
        return Line2D([], [], marker=mark, color=color, ls="", ms=size, mfc=filled, label=text)

    entries = [entry(*MARKS[kind], _name(kind)) for kind in kinds]
    entries.append(entry("D", INK, "all, with the 95 % interval over speakers", 4))
    entries.append(Line2D([], [], color=GREY, ls=":", lw=0.8, label=f"chance, 1 of {num_classes}"))
    if hollow:
        entries.append(entry("D", INK, HOLLOW, 4, "white"))
    figure.legend(handles=entries, loc="lower center", ncols=2, fontsize=FONT_PT, frameon=False)


def _name(kind: str) -> str:
    return "speaker" if kind == "unknown" else f"{kind} speaker"
