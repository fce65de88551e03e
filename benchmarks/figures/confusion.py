"""What is taken for what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.figures.style import (
    COLUMN_MM,
    FONT_PT,
    LINE_MM,
    PAGE_MM,
    count_lines,
    new_figure,
    wrap,
)
from benchmarks.scoring import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER_MM = 1.7
"""Width of a letter, on average."""
BESIDE_MM = 22
"""Width for the scale of colours and the word at the left."""


def draw_confusion(row: Row) -> "Figure":
    """Share of each true class by decided class, in percent, with the number of clips below.

    It is as wide as a column if that leaves room for these numbers, else as a page; without room
    there either, cells have percentages alone. Where a system ran with several seeds, a clip
    counts once for each.
    """
    names = [wrap(name, 20) for name in row.about.classes]
    counts = row.confusion.sum(axis=1, keepdims=True)
    shares = row.confusion / counts.clip(min=1)
    longest = max(len(line) for name in names for line in name.split("\n"))
    widest_mm = LETTER_MM * max(len(f"({_count(count)})") for count in row.confusion.flat)
    cells_mm = {
        width: (width - BESIDE_MM - LETTER_MM * longest) / len(names)
        for width in (COLUMN_MM, PAGE_MM)
    }
    width = COLUMN_MM if cells_mm[COLUMN_MM] > widest_mm else PAGE_MM
    with_counts = cells_mm[width] > widest_mm
    title = f"{wrap(row.about.system, width // 2)}\n{wrap(row.about.protocol, width // 2)}"
    name_mm = LINE_MM * max(map(count_lines, names))
    angle = 45 if 0.7 * cells_mm[width] > name_mm else 90
    below_mm = LETTER_MM * longest * (0.7 if angle == 45 else 1)
    around_mm = 18 + below_mm + 1.2 * LINE_MM * count_lines(title)
    figure = new_figure(width, (name_mm + LINE_MM * with_counts + 1.2) * len(names) + around_mm)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    _write_cells(axes, row, shares, with_counts)
    between = "\n" if with_counts else ", "
    totals = [f"{between}n = {_count(count)}" for count in counts[:, 0]]
    _name_classes(axes, names, totals, angle)
    uar = row.estimates["uar"].value
    axes.set_title(f"{title}, UAR {100 * uar:.1f} %", fontsize=FONT_PT + 1)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the true class, %", fontsize=FONT_PT)
    bar.ax.tick_params(labelsize=FONT_PT)
    return figure


def _name_classes(axes: "Axes", names: Sequence[str], totals: Sequence[str], angle: float) -> None:
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), map("".join, zip(names, totals, strict=True)))
    axes.tick_params(length=0, labelsize=FONT_PT)
    axes.set_xlabel("decided", fontsize=FONT_PT)
    axes.set_ylabel("true", fontsize=FONT_PT)
    for label in axes.get_xticklabels():
        label.set(rotation=angle, ha="right", va="center", rotation_mode="anchor")
    axes.spines[:].set_visible(False)


def _write_cells(
    axes: "Axes", row: Row, shares: npt.NDArray[np.float64], with_counts: bool
) -> None:
    for (true, decided), count in np.ndenumerate(row.confusion):
        if count == 0:
            continue
        share = shares[true, decided]
        axes.text(
            decided,
            true,
            f"{100 * share:.0f}" + (f"\n({_count(count)})" if with_counts else ""),
            ha="center",
            va="center",
            fontsize=FONT_PT,
            fontweight="bold" if true == decided else "normal",
            color="white" if share > 0.55 else "black",
        )


def _count(clips: float) -> str:
    """Clips; ties that were shared leave fractions."""
    return f"{clips:.1f}".removesuffix(".0")
