"""What tables say, before any format: headings, cells, what stands above and below."""

import string
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The head of a column."""

    text: str
    latex: str = "l"
    """The column's form in LaTeX; empty if it is left out, as a page is narrower than a screen."""
    small: bool = False
    """In small print in LaTeX."""
    meaning: str = ""
    """A sentence for below the table, wherever the column is shown."""
    marks: tuple[str, ...] = ()
    """Letters of the legend."""


@dataclass(frozen=True)
class Cell:
    """What stands under a heading."""

    text: str
    value: float | str | None = None
    """What it sorts by; None sorts last."""
    marks: tuple[str, ...] = ()
    """Letters of the legend."""
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """One table with the text around it."""

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """One cell for each heading; the first names the row."""
    warnings: tuple[str, ...] = ()
    """What a reader must know before the numbers."""
    scale: str = ""
    """What the numbers are; the first thing below the table."""
    remarks: tuple[str, ...] = ()
    """Below the table, after what its headings mean."""
    legend: tuple[tuple[str, str], ...] = ()
    """Letters and what they mean."""
    second: "Table | None" = None
    """A smaller table that belongs below this one and shares its legend."""

    def below(self, headings: Sequence[Heading]) -> list[str]:
        """The lines below the table, where these of its headings are shown."""
        meanings = " ".join(filter(None, [self.scale, *(heading.meaning for heading in headings)]))
        return [*filter(None, [meanings]), *self.remarks]


def letters(count: int) -> list[str]:
    """Marks of a legend: a to z, then aa, bb, ..."""
    alphabet = string.ascii_lowercase
    return [alphabet[index % 26] * (index // 26 + 1) for index in range(count)]


def marks_of(legend: Sequence[tuple[str, str]], notes: Sequence[str]) -> tuple[str, ...]:
    """The letters under which some notes are listed."""
    return tuple(mark for mark, note in legend if note in notes)
