r"""Tables as floats for ``\input`` into a paper: booktabs is the only package they need."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.page import Cell, Heading, Table

HEADER = (
    "% Made from predictions; needs \\usepackage{booktabs}. One float for each table, "
    "as wide as both columns of a page.\n"
)
MOST_LINES = 30
"""Of the rows of one float; more would not fit a page with the text below them."""
LINE_LENGTH = 24
"""Characters of a row's name on one line."""
ROW_END = r" \tabularnewline"
r"""Where a cell is ragged, ``\\`` ends its line and not the row."""

_ASCII = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: rf"{character}\allowbreak{{}}" for character in "+/"},
    "_": r"\_\allowbreak{}",
    '"': "''",
    "[": "{[}",
    "]": "{]}",
    **{character: f"\\{character}" for character in "&%$#{}"},
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
}
_SYMBOLS = {
    "\N{LATIN SMALL LETTER SHARP S}": r"\ss{}",
    "\N{LATIN SMALL LETTER O WITH STROKE}": r"\o{}",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": r"\O{}",
    "\N{LATIN SMALL LETTER AE}": r"\ae{}",
    "\N{LATIN CAPITAL LETTER AE}": r"\AE{}",
    "\N{LATIN SMALL LIGATURE OE}": r"\oe{}",
    "\N{LATIN SMALL LETTER L WITH STROKE}": r"\l{}",
    "\N{LATIN CAPITAL LETTER L WITH STROKE}": r"\L{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{LEFTWARDS ARROW}": r"$\leftarrow$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{NOT EQUAL TO}": r"$\neq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MINUS SIGN}": r"$-$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    "\N{GREEK SMALL LETTER GAMMA}": r"$\gamma$",
    "\N{GREEK SMALL LETTER LAMDA}": r"$\lambda$",
    "\N{GREEK SMALL LETTER MU}": r"$\mu$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
    "\N{GREEK SMALL LETTER TAU}": r"$\tau$",
}


def to_latex(tables: Sequence[Table]) -> str:
    """All tables, each a float of its own.

    A second table stands in the float of its first if both fit; long tables become several floats.
    """
    return "\n".join([HEADER, *(_float(part) for table in tables for part in _split(table))])


def latex_row(headings: Sequence[Heading], row: Sequence[Cell]) -> str:
    """One line of a tabular, without the columns that a page has no room for."""
    cells = [
        _cell(heading, cell) for heading, cell in zip(headings, row, strict=True) if heading.latex
    ]
    return " & ".join(cells) + ROW_END


def escape_latex(text: str) -> str:
    """Text that pdfLaTeX prints as it stands; characters it lacks become their code, ``U+4E2D``."""
    return "".join(map(_escape_one, " ".join(text.split())))


def _escape_one(character: str) -> str:
    if character.isascii():
        return _ASCII.get(character, character)
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    parts = unicodedata.normalize("NFD", character)
    base, accents = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and all(accent in _ACCENTS for accent in accents):
        for accent in accents:
            base = rf"\{_ACCENTS[accent]}{{{base}}}"
        return base
    return rf"U+{ord(character):04X}\allowbreak{{}}"


def _split(table: Table) -> list[Table]:
    """Tables that fit a page each."""
    *parts, last = [replace(table, rows=tuple(rows)) for rows in _share_out(table.rows)]
    for index, part in enumerate(parts):
        heads = tuple(replace(heading, meaning="") for heading in table.headings)
        scale = "Continued in the next table, below which everything is explained."
        parts[index] = replace(
            part, headings=heads, scale=scale, remarks=(), legend=(), second=None
        )
    if parts:
        last = replace(last, title=f"{last.title}, continued")
    if last.second is None or _count_lines([*last.rows, *last.second.rows]) <= MOST_LINES:
        return [*parts, last]
    second = replace(last.second, title=f"{table.title}: {last.second.title}")
    return [*parts, replace(last, second=None), *_split(second)]


def _share_out(rows: Sequence[tuple[Cell, ...]]) -> list[list[tuple[Cell, ...]]]:
    """Rows in their order, for as few floats as need be, of about as many lines each."""
    num_lines = _count_lines(rows)
    num_parts = math.ceil(num_lines / MOST_LINES)
    parts: list[list[tuple[Cell, ...]]] = [[] for _ in range(num_parts)]
    before = 0
    for row in rows:
        parts[before * num_parts // num_lines].append(row)
        before += _count_lines([row])
    return [part for part in parts if part]


def _count_lines(rows: Sequence[tuple[Cell, ...]]) -> int:
    return sum(max(1, math.ceil(len(row[0].text) / LINE_LENGTH)) for row in rows)


def _float(table: Table) -> str:
    caption = escape_latex(table.title)
    if table.warnings:
        caption += "".join(rf". \textbf{{{escape_latex(text)}}}" for text in table.warnings)
    lines = [
        r"\begin{table*}",
        r"\centering\footnotesize",
        r"\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{caption}}}",
        *_tabular(table),
        *_below(table),
    ]
    if table.second is not None:
        title = escape_latex(table.second.title)
        lines += [r"\par\medskip", rf"{{\scriptsize {title}\par}}\smallskip"]
        lines += [r"{\scriptsize", *_tabular(table.second), *_below(table.second), "}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def _tabular(table: Table) -> list[str]:
    shown = [heading for heading in table.headings if heading.latex]
    form = "".join(heading.latex for heading in shown)
    head = [_head(heading) for heading in shown]
    return [
        rf"\begin{{tabular}}{{@{{}}{form}@{{}}}}",
        r"\toprule",
        " & ".join(head) + ROW_END,
        r"\midrule",
        *(latex_row(table.headings, row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _head(heading: Heading) -> str:
    text = escape_latex(heading.text) + _superscript(heading.marks)
    return _ragged(heading, rf"\scriptsize {text}" if heading.small else text)


def _below(table: Table) -> list[str]:
    text = escape_latex(" ".join(table.below([head for head in table.headings if head.latex])))
    notes = [f"{_superscript([mark])} {escape_latex(note)}" for mark, note in table.legend]
    return [
        r"\par\smallskip",
        r"\parbox{\textwidth}{\scriptsize\raggedright",
        *(f"{line}\\par" for line in [text, *notes]),
        "}",
    ]


def _cell(heading: Heading, cell: Cell) -> str:
    """A cell with its interval in small print, or all of it."""
    text = escape_latex(cell.text)
    if heading.small:
        text = rf"\scriptsize {text}"
    elif isinstance(cell.value, float):
        text = re.sub(r"(\{\[\}.*)$", r"{\\scriptsize \1}", text)
    if cell.bold:
        text = rf"\textbf{{{text}}}"
    return _ragged(heading, text + _superscript(cell.marks))


def _ragged(heading: Heading, text: str) -> str:
    """In a column of fixed width; a first word that is too long for it can be hyphenated."""
    return rf"\raggedright\hspace{{0pt}}{text}" if heading.latex.startswith("p") else text


def _superscript(marks: Sequence[str]) -> str:
    return f"$^{{{','.join(marks)}}}$" if marks else ""
