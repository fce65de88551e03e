"""Tables as Markdown, with aligned columns, so that they read well on a terminal too."""

import re
from collections.abc import Sequence

from benchmarks.page import Cell, Table


def to_markdown(tables: Sequence[Table]) -> str:
    """All tables, one below the other."""
    return "\n".join(_one(table, "##") for table in tables)


def _one(table: Table, level: str) -> str:
    lines = [[_escape(_mark(head.text, head.marks)) for head in table.headings]]
    lines += [[_cell(cell) for cell in row] for row in table.rows]
    notes = [f"({mark}) {note}" for mark, note in table.legend]
    warnings = [line for text in table.warnings for line in (f"**{_escape(text)}**", "")]
    below = [f"{_escape(line)}  " for line in [*table.below(table.headings), *notes]]
    parts = [f"{level} {_escape(table.title)}", "", *warnings, _align(lines), *below, ""]
    if table.second is not None:
        parts.append(_one(table.second, f"{level}#"))
    return "\n".join(parts)


def _cell(cell: Cell) -> str:
    text = _escape(_mark(cell.text, cell.marks))
    return f"**{text}**" if cell.bold else text


def _mark(text: str, marks: Sequence[str]) -> str:
    return f"{text} ({', '.join(marks)})" if marks else text


def _escape(text: str) -> str:
    """A ``<`` before a space starts no tag, and reads better as it is."""
    return re.sub(r"([|\\*]|<(?=\S))", r"\\\1", " ".join(text.split()))


def _align(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    head, *body = [
        "| " + " | ".join(c.ljust(width) for c, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([head, rule, *body]) + "\n"
