"""Scored tables as Markdown, LaTeX and HTML. Rows of different protocols share no table."""

import base64
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from benchmarks.columns import COLUMNS, Column
from benchmarks.scoring import Row, Section


def to_markdown(sections: Sequence[Section]) -> str:
    """Tables with aligned columns, so that they read well on a terminal too."""
    parts = []
    for section in sections:
        columns, once = _lay_out(section)
        head = ["System", *(column.header for column in columns)]
        lines = [head, *(_markdown_line(section, row, columns) for row in section.rows)]
        below = [_explain(section, columns), *once, *section.caveats]
        notes = [f"({mark}) {note}" for mark, note in _legend(section)]
        text = [f"{_escape_markdown(line)}  " for line in [*below, *notes]]
        title = f"## {_escape_markdown(_describe(section))}"
        warning = [f"**{section.warning}**", ""] if section.warning else []
        parts.append("\n".join([title, "", *warning, _align(lines), *text, ""]))
    return "\n".join(parts)


def to_latex(sections: Sequence[Section]) -> str:
    r"""Floats for ``\input``: booktabs is the only package they need."""
    parts = [
        "% Made from predictions; needs \\usepackage{booktabs}. One float for each table, "
        "as wide as both columns of a page.\n"
    ]
    for section in sections:
        every, once = _lay_out(section)
        columns = [column for column in every if column.latex]
        form = "".join(column.latex for column in columns)
        below = [_explain(section, columns), *once, *section.caveats]
        warning = rf". \textbf{{{escape_latex(section.warning)}}}" if section.warning else ""
        notes = [rf"$^{{{mark}}}$ {escape_latex(note)}" for mark, note in _legend(section)]
        lines = [
            r"\begin{table*}",
            r"\centering\footnotesize",
            r"\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{4pt}",
            rf"\caption{{{escape_latex(_describe(section))}{warning}}}",
            rf"\begin{{tabular}}{{@{{}}p{{0.2\textwidth}}{form}@{{}}}}",
            r"\toprule",
            " & ".join(["System", *(escape_latex(column.header) for column in columns)]) + ROW_END,
            r"\midrule",
            *(_latex_line(section, row, columns) for row in section.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip",
            r"\parbox{\textwidth}{\scriptsize\raggedright",
            *(f"{text}\\par" for text in [escape_latex(" ".join(below)), *notes]),
            "}",
        ]
        parts.append("\n".join([*lines, r"\end{table*}", ""]))
    return "\n".join(parts)


def to_html(sections: Sequence[Section], pictures: Mapping[tuple[str, str], Path]) -> str:
    """One page that needs no network: tables that sort by a click, pictures inside.

    Args:
        sections: scored tables.
        pictures: confusion matrix (png) by protocol and system.
    """
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    views = []
    for section in sections:
        columns, once = _lay_out(section)
        views.append(
            {
                "title": _describe(section),
                "columns": columns,
                "rows": [(row, ", ".join(_marks(section, row))) for row in section.rows],
                "remarks": [_explain(section, columns), *once, *section.caveats],
                "legend": _legend(section),
                "warning": section.warning,
                "pictures": [
                    (row.about.system, _embed(pictures[section.protocol, row.about.system]))
                    for row in section.rows
                ],
            }
        )
    return environment.get_template("table.html").render(sections=views)


ROW_END = r" \tabularnewline"
r"""Where a cell is ragged, ``\\`` ends its line and not the row."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "+": r"+\allowbreak{}",
    '"': "''",
    "[": "{[}",
    "]": "{]}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it stands; a bracket can't become an option of what precedes it."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _markdown_line(section: Section, row: Row, columns: Sequence[Column]) -> list[str]:
    marks = _marks(section, row)
    name = row.about.system + (f" ({', '.join(marks)})" if marks else "")
    return [_escape_markdown(cell) for cell in (name, *(column.text(row) for column in columns))]


def _latex_line(section: Section, row: Row, columns: Sequence[Column]) -> str:
    marks = ",".join(_marks(section, row))
    name = escape_latex(row.about.system) + (f"$^{{{marks}}}$" if marks else "")
    cells = [_latex_cell(column, row) for column in columns]
    return " & ".join([rf"\raggedright {name}", *cells]) + ROW_END


def _latex_cell(column: Column, row: Row) -> str:
    """A cell with its interval in small print, or all of it."""
    cell = escape_latex(column.text(row))
    if column.small:
        ragged = r"\raggedright " if column.latex.startswith("p") else ""
        return rf"\scriptsize {ragged}{cell}"
    return re.sub(r"(\{\[\}.*)$", r"{\\scriptsize \1}", cell)


def _lay_out(section: Section) -> tuple[list[Column], list[str]]:
    """Columns to show, and a sentence on those that say the same in every row, if there are any.

    Columns without any text are in neither.
    """
    shown: list[Column] = []
    once: list[str] = []
    for column in COLUMNS:
        texts = {column.text(row) for row in section.rows}
        if column.once and len(texts) == 1:
            once += [f"{column.header.lower()} {text}" for text in texts if text]
        elif texts != {""}:
            shown.append(column)
    return shown, [f"In every row: {', '.join(once)}."] if once else []


def _explain(section: Section, columns: Sequence[Column]) -> str:
    meanings = [column.meaning for column in columns if column.meaning]
    return " ".join(
        [f"Percent, over pooled test predictions{_describe_interval(section)}.", *meanings]
    )


def _describe_interval(section: Section) -> str:
    """What the brackets are, if any row has them; by clip only where speakers are unknown."""
    units = {
        "clip" if row.num_speakers is None else "speaker"
        for row in section.rows
        if row.estimates["uar"].low is not None
    }
    if not units:
        return ""
    unit = " or, where speakers are unknown, ".join(sorted(units, reverse=True))
    return f"; in brackets the 95 % t interval clustered by {unit} (jackknife)"


def _describe(section: Section) -> str:
    apart = ", leaky" if section.warning else ""
    return f"{section.protocol} ({section.task}, {len(section.classes)} classes{apart})"


def _legend(section: Section) -> list[tuple[str, str]]:
    return list(zip(_all_marks(len(section.notes)), section.notes, strict=True))


def _marks(section: Section, row: Row) -> list[str]:
    return [mark for mark, note in _legend(section) if note in row.notes]


def _all_marks(count: int) -> list[str]:
    """A to z, then aa, bb, ..."""
    letters = string.ascii_lowercase
    return [letters[index % 26] * (index // 26 + 1) for index in range(count)]


def _escape_markdown(text: str) -> str:
    return re.sub(r"([|<\\])", r"\\\1", " ".join(text.split()))


def _align(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    head, *body = [
        "| " + " | ".join(c.ljust(width) for c, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([head, rule, *body]) + "\n"


def _embed(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
