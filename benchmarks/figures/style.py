"""Sizes, colours and text that all pictures share.

Pictures are as wide as a column or a page of a paper, with letters of 8 pt, so that they are put
in as they are. Colours are Okabe and Ito's, which colour-blind readers tell apart; marks differ in
form too, for print without colours.
"""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoring import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN_MM, PAGE_MM = 85, 175
FONT_PT = 8
LINE_MM = 3.4
"""One line of text."""
DPI = 200
MM_PER_INCH = 25.4

ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
INK, GREY, PALE = "#1A1A1A", "#6E6E6E", "#F2F2F2"

HOLLOW = "hollow: marked in the table (leak, reduced, incomplete, ...)"
"""Legend of rows that can't be the best of their table."""


def new_figure(width_mm: float, height_mm: float) -> "Figure":
    """An empty picture with a canvas of its own: no global state, no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (width_mm / MM_PER_INCH, height_mm / MM_PER_INCH)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: Path) -> None:
    """PNG; without the version of matplotlib in it, equal pictures have equal bytes."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def add_axes(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Axes at a place in millimetres from the upper left corner."""
    across, down = (MM_PER_INCH * inches for inches in figure.get_size_inches())
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def write_heading(figure: "Figure", text: str) -> None:
    """Above everything, in letters a little larger."""
    down = MM_PER_INCH * figure.get_size_inches()[1]
    figure.text(0.5, 1 - 2 / down, text, fontsize=FONT_PT + 1, ha="center", va="top")


def dress(axes: "Axes", grid: str = "x") -> None:
    """Plain axes: no frame, small letters, a pale grid along one axis behind the data."""
    axes.tick_params(labelsize=FONT_PT, length=2, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(GREY)
    axes.grid(axis=grid, color="#DDDDDD", linewidth=0.5)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def wrap(name: str, width: int) -> str:
    """A name on lines of so many letters; a dollar in it is a dollar and starts no formula."""
    lines = textwrap.wrap(name, width, break_on_hyphens=False) or [" "]
    return "\n".join(lines).replace("$", r"\$")


def count_lines(text: str) -> int:
    """Of a name after ``wrap``."""
    return text.count("\n") + 1


def face(row: Row, color: str) -> str:
    """What to fill a row's mark with: nothing if the row can't be the best of its table."""
    return "white" if row.barred else color
