"""Pictures of a benchmark, through matplotlib's object interface: no global state, no window."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.results import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.scoring import Row, Section


def draw_confusions(sections: "Sequence[Section]", folder: Path) -> "dict[tuple[str, str], Path]":
    """One confusion matrix for each row of each table.

    Args:
        sections: scored tables.
        folder: made if it is not there.

    Returns:
        The picture by protocol and system.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Else the pictures of rows that are gone would stand beside those of the table.
    for earlier in folder.glob("confusion__*.png"):
        earlier.unlink()
    pictures = {}
    for section in sections:
        for row in section.rows:
            path = folder / f"confusion__{slug(section.protocol)}__{slug(row.about.system)}.png"
            draw_confusion(row, path)
            pictures[section.protocol, row.about.system] = path
    return pictures


def draw_confusion(row: "Row", path: Path) -> None:
    """Share of each true class by decided class, in percent, with the number of clips below.

    Where a system ran with several seeds, a clip counts once for each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = row.about.classes
    side = 1.6 + 0.62 * len(classes)
    figure = Figure(figsize=(side + 0.9, side), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    counts = row.confusion.sum(axis=1, keepdims=True)
    shares = row.confusion / counts.clip(min=1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    _write_cells(axes, row, shares)
    rows = zip(classes, counts[:, 0], strict=True)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), [f"{name}\nn = {_count(n)}" for name, n in rows])
    axes.set_xlabel("decided")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    uar = row.estimates["uar"].value
    axes.set_title(f"{row.about.system}\n{row.about.protocol}, UAR {100 * uar:.1f} %", fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the true class, %", shrink=0.8)
    # Without the version of matplotlib in it, equal pictures have equal bytes.
    figure.savefig(path, metadata={"Software": None})


def _write_cells(axes: "Axes", row: "Row", shares: npt.NDArray[np.float64]) -> None:
    for (true, decided), count in np.ndenumerate(row.confusion):
        if count == 0:
            continue
        share = shares[true, decided]
        axes.text(
            decided,
            true,
            f"{100 * share:.0f}\n({_count(count)})",
            ha="center",
            va="center",
            fontsize=8.5,
            fontweight="bold" if true == decided else "normal",
            color="white" if share > 0.55 else "black",
        )


def _count(clips: float) -> str:
    """Clips; ties that were shared leave fractions."""
    return f"{clips:.1f}".removesuffix(".0")
