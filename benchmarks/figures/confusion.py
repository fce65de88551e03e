"""What is taken for what."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.figures.style import COLUMN_MM, FONT_PT, PAGE_MM, new_figure, wrap
from benchmarks.scoring import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IN_A_COLUMN = 5
"""Classes that fit into a column with the number of clips in each cell."""
WITH_COUNTS = 10
"""Classes that fit onto a page likewise; cells of more have percentages alone."""


def draw_confusion(row: Row) -> "Figure":
    """Share of each true class by decided class, in percent, with the number of clips below.

    Where a system ran with several seeds, a clip counts once for each.
    """
    classes = row.about.classes
    with_counts = len(classes) <= WITH_COUNTS
    width = COLUMN_MM if len(classes) <= IN_A_COLUMN else PAGE_MM
    title = f"{wrap(row.about.system, width // 2)}\n{wrap(row.about.protocol, width // 2)}"
    figure = new_figure(width, (8 if with_counts else 5) * len(classes) + 40)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    counts = row.confusion.sum(axis=1, keepdims=True)
    shares = row.confusion / counts.clip(min=1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    _write_cells(axes, row, shares, with_counts)
    names = [wrap(name, 20) for name in classes]
    between = "\n" if with_counts else ", "
    totals = [f"{between}n = {_count(count)}" for count in counts[:, 0]]
    axes.set_xticks(range(len(classes)), names)
    axes.set_yticks(range(len(classes)), map("".join, zip(names, totals, strict=True)))
    axes.tick_params(length=0, labelsize=FONT_PT)
    axes.set_xlabel("decided", fontsize=FONT_PT)
    axes.set_ylabel("true", fontsize=FONT_PT)
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.spines[:].set_visible(False)
    uar = row.estimates["uar"].value
    axes.set_title(f"{title}, UAR {100 * uar:.1f} %", fontsize=FONT_PT + 1)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the true class, %", fontsize=FONT_PT)
    bar.ax.tick_params(labelsize=FONT_PT)
    return figure


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
