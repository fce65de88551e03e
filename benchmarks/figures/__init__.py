"""Pictures of a benchmark for a paper, from scored tables, through matplotlib's objects alone."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures.confusion import draw_confusion
from benchmarks.figures.cost import draw_cost
from benchmarks.figures.critical_difference import draw_critical_difference
from benchmarks.figures.label_efficiency import draw_label_efficiency
from benchmarks.figures.recall import draw_recall
from benchmarks.figures.reliability import draw_reliability
from benchmarks.figures.style import save_figure
from benchmarks.results import slug
from benchmarks.scoring import Section

OVERVIEWS = {
    "recall": (draw_recall, "UAR of each speaker and gender"),
    "critical-difference": (draw_critical_difference, "Mean ranks and what the tests tell apart"),
    "reliability": (draw_reliability, "How often decisions were right by how sure they were"),
    "cost": (draw_cost, "UAR against weights and seconds"),
    "label-efficiency": (draw_label_efficiency, "UAR against the labels learnt from"),
}
"""By the start of the file's name: one picture for each table, and what it shows."""
CONFUSION = "confusion"
LONGEST = 80
"""Letters of a name in a file name."""


@dataclass(frozen=True)
class Picture:
    """A file and what it shows."""

    path: Path
    text: str


@dataclass(frozen=True)
class SectionPictures:
    """The pictures of one table."""

    overviews: tuple[Picture, ...]
    """Those that could be drawn."""
    confusions: tuple[Picture, ...]
    """One for each row."""


def draw_figures(sections: Sequence[Section], folder: Path) -> list[SectionPictures]:
    """Draws what can be drawn of each table, and removes earlier pictures of what can't.

    Args:
        sections: scored tables.
        folder: made if it is not there; other files in it stay.

    Returns:
        In the order of the tables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind in (*OVERVIEWS, CONFUSION):
        # Else the pictures of rows that are gone would stand beside those of the table.
        for earlier in folder.glob(f"{kind}__*.png"):
            earlier.unlink()
    tables = name_files([_name_table(section, sections) for section in sections])
    return [
        SectionPictures(
            tuple(_draw_overviews(section, table, folder)),
            tuple(_draw_confusions(section, table, folder)),
        )
        for section, table in zip(sections, tables, strict=True)
    ]


def name_files(names: Sequence[str]) -> list[str]:
    """Different parts of file names for different names, however alike or long they are."""
    slugs = [re.sub("_+", "_", slug(name)).strip("_") or "unnamed" for name in names]
    shared = Counter(slugs)
    return [
        short
        if shared[short] == 1 and len(short) <= LONGEST
        else f"{short[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        for short, name in zip(slugs, names, strict=True)
    ]


def _name_table(section: Section, sections: Sequence[Section]) -> str:
    """The protocol, with more where that is shared."""
    if sum(other.protocol == section.protocol for other in sections) == 1:
        return section.protocol
    return f"{section.protocol} {section.task}{' leaky' if section.warning else ''}"


def _draw_overviews(section: Section, table: str, folder: Path) -> list[Picture]:
    pictures = []
    for kind, (draw, text) in OVERVIEWS.items():
        figure = draw(section)
        if figure is not None:
            path = folder / f"{kind}__{table}.png"
            save_figure(figure, path)
            pictures.append(Picture(path, text))
    return pictures


def _draw_confusions(section: Section, table: str, folder: Path) -> list[Picture]:
    pictures = []
    files = name_files([row.about.system for row in section.rows])
    for row, file in zip(section.rows, files, strict=True):
        path = folder / f"{CONFUSION}__{table}__{file}.png"
        save_figure(draw_confusion(row), path)
        pictures.append(Picture(path, f"Confusion matrix of {row.about.system}"))
    return pictures
