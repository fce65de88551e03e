"""What accuracy costs: weights, seconds of training, seconds of judging."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures.placement import Box, place_labels
from benchmarks.figures.style import (
    BLUE,
    FONT_PT,
    GREY,
    HOLLOW,
    INK,
    LINE_MM,
    MM_PER_INCH,
    PAGE_MM,
    add_axes,
    count_lines,
    dress,
    face,
    new_figure,
    wrap,
    write_heading,
)
from benchmarks.scoring import Row, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Cost:
    """What a panel's axis across shows."""

    text: str
    of: Callable[[Row], float | None]


COSTS = (
    Cost("weights", lambda row: row.about.parameters),
    Cost("training, seconds for one fold and seed", lambda row: row.about.train_seconds),
    Cost("judging, seconds for each second of audio", lambda row: row.about.real_time_factor),
)
GAP_MM = 1.2
"""Between a label and anything else."""
LEFT_MM, PANEL_MM, TALLEST_MM, SCALE_MM = 14, 40, 58, 11
"""Left of the panels; least and largest height of one; the height below it for its scale."""
FIGURE_SPACE = "\N{FIGURE SPACE}"
CROWD = 3
"""How much larger than its labels a panel must be for them to find room."""


def draw_cost(section: Section) -> "Figure | None":
    """The headline against each cost that at least two systems state, on logarithmic axes.

    Systems are named beside their points; where they are too many for that they are numbered, and
    the numbers explained below.

    Returns:
        None where no cost is stated by two systems.
    """
    costs = [cost for cost in COSTS if len(_stated(section.rows, cost)) > 1]
    if not costs:
        return None
    labels = {row.about.system: wrap(row.about.system, 26) for row in section.rows}
    needed_mm = max(_needed_mm(section.rows, cost, labels) for cost in costs)
    numbers = {name: str(number) for number, name in enumerate(labels, 1)}
    is_numbered = needed_mm > TALLEST_MM
    # The figure space is as wide as a digit, so that names stand in one line.
    key = [wrap(f"{number.rjust(2, FIGURE_SPACE)}  {name}", 55) for name, number in numbers.items()]
    key = key if is_numbered else []
    panel_mm = TALLEST_MM if is_numbered else max(PANEL_MM, needed_mm)
    missing = [_describe_missing(section.rows, cost) for cost in costs]
    heights = [panel_mm + SCALE_MM + LINE_MM * count_lines(text) for text in missing]
    half = -(-len(key) // 2)
    key_mm = LINE_MM * max(sum(map(count_lines, side)) for side in (key[:half], key[half:]))
    heading = wrap(section.protocol, 90)
    top_mm = 3 + 1.2 * LINE_MM * count_lines(heading)
    legend_mm = 6 if any(row.barred for row in section.rows) else 1
    figure = new_figure(PAGE_MM, top_mm + sum(heights) + key_mm + legend_mm)
    write_heading(figure, heading)
    for cost, text, height in zip(costs, missing, heights, strict=True):
        panel = add_axes(figure, LEFT_MM, top_mm, PAGE_MM - LEFT_MM - 4, panel_mm)
        _draw_panel(panel, section.rows, cost, text)
        _label(figure, panel, _stated(section.rows, cost), cost, numbers if key else labels)
        top_mm += height
    _write_key(figure, top_mm, (key[:half], key[half:]))
    if any(row.barred for row in section.rows):
        _add_legend(figure)
    return figure


def _needed_mm(rows: Sequence[Row], cost: Cost, labels: Mapping[str, str]) -> float:
    """Height of a panel in which names find room, at about 1.7 mm a letter."""
    texts = [labels[row.about.system] for row in _stated(rows, cost)]
    area = sum((LINE_MM * count_lines(text) + 2) * (1.7 * min(26, len(text))) for text in texts)
    return CROWD * area / (PAGE_MM - LEFT_MM)


def _describe_missing(rows: Sequence[Row], cost: Cost) -> str:
    stated = _stated(rows, cost)
    missing = [row.about.system for row in rows if row not in stated]
    return wrap(f"not shown (unknown or zero): {', '.join(missing)}", 95) if missing else ""


def _write_key(figure: "Figure", top_mm: float, sides: Sequence[Sequence[str]]) -> None:
    width, height = (MM_PER_INCH * inches for inches in figure.get_size_inches())
    for side, left in zip(sides, (2, PAGE_MM / 2 + 1), strict=True):
        top = top_mm
        for text in side:
            figure.text(left / width, 1 - top / height, text, fontsize=FONT_PT, va="top")
            top += LINE_MM * count_lines(text)


def _stated(rows: Sequence[Row], cost: Cost) -> list[Row]:
    """Rows whose cost has a place on a logarithmic axis."""
    return [row for row in rows if (cost.of(row) or 0) > 0]


def _draw_panel(axes: "Axes", rows: Sequence[Row], cost: Cost, missing: str) -> None:
    dress(axes, "both")
    stated = _stated(rows, cost)
    _scale(axes, [float(cost.of(row) or 0) for row in stated])
    for row in stated:
        x, uar = float(cost.of(row) or 0), row.estimates["uar"]
        if uar.low is not None and uar.high is not None:
            axes.plot([x, x], [100 * uar.low, 100 * uar.high], color=BLUE, linewidth=1)
        axes.plot([x], [100 * uar.value], "o", color=BLUE, ms=4.5, mfc=face(row, BLUE), zorder=3)
    axes.set_ylim(*_limits(rows))
    axes.set_xlabel(f"{cost.text}\n{missing}".strip(), fontsize=FONT_PT, labelpad=2)
    axes.set_ylabel("UAR, %", fontsize=FONT_PT)


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """The same for every panel: all intervals, with room for names above and below."""
    uars = [row.estimates["uar"] for row in rows]
    ends = [100 * end for uar in uars for end in (uar.value, uar.low, uar.high) if end is not None]
    room = 0.12 * (max(ends) - min(ends)) + 2
    return min(ends) - room, max(ends) + room


def _scale(axes: "Axes", values: Sequence[float]) -> None:
    """A logarithmic axis with room for names at its ends, and numbers at 1, 2 and 5 if short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    room = max(2.0, (max(values) / min(values)) ** 0.12)
    axes.set_xlim(min(values) / room, max(values) * room)
    is_short = max(values) / min(values) < 100
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_short else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _describe_tick(value)))


def _describe_tick(value: float) -> str:
    """``0.02``, ``500``, ``2 k``, ``10 M``; very small ones as powers of ten."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, ""), (1e-3, "")):
        if value > 0.999 * size:
            return f"{value / size:g}{letter}" if size > 1 else f"{value:g}"
    mantissa, power = f"{value:.0e}".split("e")
    return rf"${mantissa}\cdot10^{{{int(power)}}}$" if mantissa != "1" else f"$10^{{{int(power)}}}$"


def _label(
    figure: "Figure", axes: "Axes", rows: Sequence[Row], cost: Cost, labels: Mapping[str, str]
) -> None:
    """Names or numbers beside the points."""
    points, intervals, texts = [], [], []
    gap = GAP_MM / MM_PER_INCH * figure.dpi
    for row in rows:
        x, uar = float(cost.of(row) or 0), row.estimates["uar"]
        center = axes.transData.transform((x, 100 * uar.value))
        points.append((float(center[0]), float(center[1])))
        ends = [
            axes.transData.transform((x, 100 * (end or uar.value)))[1]
            for end in (uar.low, uar.high)
        ]
        intervals.append(Box(center[0] - gap / 3, ends[0], center[0] + gap / 3, ends[1]))
        texts.append(
            figure.text(
                0, 0, labels[row.about.system], fontsize=FONT_PT, color=INK, linespacing=1.05
            )
        )
    extents = [text.get_window_extent() for text in texts]
    sizes = [(float(extent.width), float(extent.height)) for extent in extents]
    frame = axes.get_window_extent()
    bounds = Box(frame.x0 + gap, frame.y0, frame.x1, frame.y1)
    places = place_labels(points, sizes, intervals, bounds, gap)
    for text, box, point in zip(texts, places, points, strict=True):
        text.set_position(_fraction(figure, (box.left, box.bottom)))
        _draw_leader(figure, point, box.nearest(point), 2.5 * gap)


def _draw_leader(
    figure: "Figure", point: tuple[float, float], end: tuple[float, float], close: float
) -> None:
    """A thin line from a point to its label, unless they are close anyway."""
    from matplotlib.lines import Line2D

    if (point[0] - end[0]) ** 2 + (point[1] - end[1]) ** 2 > close**2:
        starts, stops = zip(_fraction(figure, point), _fraction(figure, end), strict=True)
        figure.add_artist(Line2D(starts, stops, color=GREY, linewidth=0.5))


def _fraction(figure: "Figure", pixels: tuple[float, float]) -> tuple[float, float]:
    x, y = figure.transFigure.inverted().transform(pixels)
    return float(x), float(y)


def _add_legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    entry = Line2D([], [], marker="o", color=BLUE, ls="", ms=4.5, mfc="white", label=HOLLOW)
    figure.legend(handles=[entry], loc="lower center", fontsize=FONT_PT, frameon=False)
