"""Mean ranks of the systems, and which of them the table's tests don't tell apart."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from scipy import stats

from benchmarks.comparisons import ALPHA
from benchmarks.figures.style import (
    FONT_PT,
    GREY,
    HOLLOW,
    INK,
    LINE_MM,
    PAGE_MM,
    count_lines,
    face,
    new_figure,
    wrap,
)
from benchmarks.scoring import Row, Section
from benchmarks.statistics import Floats
from finetune import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_SYSTEMS, LEAST_SPEAKERS = 3, 6
BAR_MM = 2.4
"""From one bar to the next."""
TEXT_MM = 48
"""Left and right of the axis, for names."""


def draw_critical_difference(section: Section) -> "Figure | None":
    """Systems on an axis of mean ranks; a bar joins those that no test tells apart.

    Ranks are those of each speaker's UAR. Which systems differ is taken from the comparisons of the
    table, not from the distance between ranks.

    Source: Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", section
    3.2.4, with Holm-corrected paired tests in place of Nemenyi's critical difference, as Benavoli,
    Corani and Mangili 2016, "Should We Really Use Post-Hoc Tests Based on Mean-Ranks?", advise.

    Returns:
        None for under 3 systems that were tested on the same clips of at least 6 speakers, and
        where they do equally well for every speaker.
    """
    rows = find_comparable(section)
    if len(rows) < LEAST_SYSTEMS or len(rows[0].by_speaker) < LEAST_SPEAKERS:
        return None
    uars = np.array([[metrics.uar(one) for one in row.by_speaker.values()] for row in rows])
    # Shares of equal counts differ in the last bits; equal ones must tie.
    ranks = stats.rankdata(-np.round(uars, 10), axis=0)
    if np.ptp(ranks) == 0:
        return None
    means = ranks.mean(axis=1)
    order = sorted(range(len(rows)), key=lambda place: (means[place], rows[place].about.system))
    rows, means = [rows[place] for place in order], means[order]
    groups = find_groups(section, [row.about.system for row in rows])
    num_speakers = uars.shape[1]
    p_value = float(stats.friedmanchisquare(*np.round(uars, 10)).pvalue)
    title = (
        f"{wrap(section.protocol, 90)}\nmean rank of the UAR over {num_speakers} speakers, "
        f"1 is best; Friedman {_describe_p(p_value)}"
    )
    return _draw(rows, means, groups, title, _explain(section, rows, bool(groups)))


def find_comparable(section: Section) -> list[Row]:
    """The largest set of rows of which every pair was tested on the same clips of known speakers.

    Being tested on the same clips is an equivalence, so a row's partners are partners too.
    """
    partners: defaultdict[str, set[str]] = defaultdict(set)
    for pair in section.comparisons:
        if pair.p_holm is not None:
            partners[pair.first].add(pair.second)
            partners[pair.second].add(pair.first)
    sets = [{row.about.system, *partners[row.about.system]} for row in section.rows]
    largest = max(sets, key=len)
    return [row for row in section.rows if row.about.system in largest and row.by_speaker]


def find_groups(section: Section, names: Sequence[str]) -> list[list[int]]:
    """Largest sets of systems of which no two differ after correction.

    Not being told apart is no equivalence: sets may overlap, and a system between two of a set, by
    rank, need not belong to it.

    Args:
        section: with comparisons of all these systems.
        names: of the systems, best first.

    Returns:
        Places in ``names``, ascending, of at least two systems each.
    """
    place = {name: number for number, name in enumerate(names)}
    differing = {
        frozenset((place[pair.first], place[pair.second]))
        for pair in section.comparisons
        if pair.first in place
        and pair.second in place
        and pair.p_holm is not None
        and pair.p_holm < ALPHA
    }
    graph = nx.Graph()
    graph.add_edges_from(
        pair for pair in combinations(range(len(names)), 2) if frozenset(pair) not in differing
    )
    return sorted(sorted(clique) for clique in nx.find_cliques(graph))


def _describe_p(p_value: float) -> str:
    return f"p = {p_value:.2g}" if p_value >= 1e-4 else "p < 0.0001"


def _explain(section: Section, rows: Sequence[Row], joined: bool) -> str:
    joins = "A bar joins systems, one dot each, of which no two differ" if joined else "All differ"
    num_pairs = sum(pair.p_holm is not None for pair in section.comparisons)
    text = (
        f"{joins} by the table's paired tests over speakers, Holm-corrected over the "
        f"{num_pairs} pairs that could be tested, at {100 * ALPHA:.0f} %."
    )
    missing = [row.about.system for row in section.rows if row not in rows]
    if missing:
        text += f" Not shown, as not tested on the same clips: {', '.join(missing)}."
    return f"{text} {HOLLOW.capitalize()}." if any(row.barred for row in rows) else text


def _draw(
    rows: Sequence[Row], means: Floats, groups: Sequence[Sequence[int]], title: str, caption: str
) -> "Figure":
    """Everything on one set of axes in millimetres, its origin at the top left."""
    levels = _stack([(means[group[0]], means[group[-1]]) for group in groups])
    names = [
        f"{wrap(row.about.system, 26)}  {mean:.1f}" for row, mean in zip(rows, means, strict=True)
    ]
    caption = wrap(caption, 108)
    axis_mm = 8 + LINE_MM * count_lines(title)
    names_mm = axis_mm + 5 + BAR_MM * (1 + max(levels, default=0))
    half = -(-len(rows) // 2)
    sides = [list(range(half)), list(range(len(rows) - 1, half - 1, -1))]
    heights = [[LINE_MM * count_lines(names[place]) + 1.4 for place in side] for side in sides]
    total_mm = names_mm + max(map(sum, heights)) + 3 + LINE_MM * count_lines(caption) + 2
    figure = new_figure(PAGE_MM, total_mm)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, PAGE_MM), ylim=(total_mm, 0))
    axes.set_axis_off()
    axes.text(PAGE_MM / 2, 1.5, title, ha="center", va="top", fontsize=FONT_PT + 1)
    axes.text(2, total_mm - 2, caption, ha="left", va="bottom", fontsize=FONT_PT)
    ranks = range(int(means[0]), max(int(np.ceil(means[-1])), int(means[0]) + 1) + 1)
    x = TEXT_MM + (means - ranks[0]) / (len(ranks) - 1) * (PAGE_MM - 2 * TEXT_MM)
    _draw_axis(axes, ranks, axis_mm)
    for group, level in zip(groups, levels, strict=True):
        height = axis_mm + 4 + BAR_MM * level
        axes.plot(x[[group[0], group[-1]]], [height] * 2, color=INK, linewidth=1.6)
        axes.plot(x[list(group)], [height] * len(group), "o", color=INK, markersize=3)
    for side, side_heights, is_left in zip(sides, heights, (True, False), strict=True):
        middle = names_mm
        for place, height in zip(side, side_heights, strict=True):
            middle += height / 2
            _draw_name(axes, rows[place], names[place], x[place], axis_mm, middle, is_left)
            middle += height / 2
    return figure


def _draw_axis(axes: "Axes", ranks: Sequence[int], axis_mm: float) -> None:
    places = np.linspace(TEXT_MM, PAGE_MM - TEXT_MM, len(ranks))
    axes.plot(places[[0, -1]], [axis_mm] * 2, color=INK, linewidth=1)
    for rank, x in zip(ranks, places, strict=True):
        axes.plot([x, x], [axis_mm, axis_mm - 1], color=INK, linewidth=1)
        # More numbers than this don't fit.
        if (rank - ranks[0]) % (1 + len(ranks) // 20) == 0:
            axes.text(x, axis_mm - 1.6, str(rank), ha="center", va="bottom", fontsize=FONT_PT)


def _draw_name(
    axes: "Axes", row: Row, name: str, x: float, axis_mm: float, height: float, is_left: bool
) -> None:
    end = TEXT_MM - 3 if is_left else PAGE_MM - TEXT_MM + 3
    axes.plot([x, x, end], [axis_mm, height, height], color=GREY, linewidth=0.7, zorder=1)
    axes.plot([x], [axis_mm], "o", color=INK, markersize=4, markerfacecolor=face(row, INK))
    side, beyond = ("right", -1) if is_left else ("left", 1)
    axes.text(end + beyond, height, name, ha=side, va="center", fontsize=FONT_PT, linespacing=1.05)


def _stack(spans: Sequence[tuple[float, float]]) -> list[int]:
    """The level of each bar, such that bars of one level don't touch.

    Args:
        spans: from and to, in ascending order.
    """
    ends: list[float] = []
    levels = []
    for start, end in spans:
        level = next((level for level, last in enumerate(ends) if last < start), len(ends))
        ends[level : level + 1] = [end]
        levels.append(level)
    return levels
