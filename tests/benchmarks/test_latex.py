"""What pdfLaTeX makes of a table: hostile names, long ones, many rows."""

import itertools
import re
import shutil
import subprocess

import pytest

from benchmarks.formats.latex import MOST_LINES, escape_latex, to_latex
from benchmarks.page import Cell, Heading, Table

needs_pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
NAMES = (
    '50% [ours] & <b>a_b</b> | #1 {x} \\ ~^ "q" $5',
    "Zürich ↔ Bäckström → çafé ≥ 3 \u00d7 Łódź ß \u2013 “x” … µ \u03b1 ± 1 °",
    "表情 emoji 🎤 Ελλάδα \u00a0 thin\u2009space",
    "[first] in its cell",
    "A-name-without-any-space-that-is-far-longer-than-its-column-could-ever-be",
    "wav2vec2-base, layer chosen by inner validation, logistic regression, mean of 3 seeds",
)


def table(names, columns=4, **text):
    headings = [Heading("System", latex=r"p{0.2\textwidth}")]
    headings += [Heading(f"Score {index}", meaning="50% & more.") for index in range(columns)]
    headings.append(Heading("Only on screens", latex="", meaning="Not on paper."))
    rows = [
        (
            Cell(name, name, marks=("a", "bb")),
            *(Cell("41.4 [38.2, 44.6]", 0.414, bold=place == 0) for _ in range(columns)),
            Cell("unprinted", 1.0),
        )
        for place, name in enumerate(names)
    ]
    legend = (("a", "a note with 100 % & _"), ("bb", NAMES[1]))
    return Table("p-3/x_y (50 %)", tuple(headings), tuple(rows), legend=legend, **text)


def compile_latex(text, folder):
    """What pdflatex prints of a two-column paper with these tables."""
    (folder / "table.tex").write_text(text, encoding="utf-8")
    (folder / "paper.tex").write_text(
        r"\documentclass[twocolumn]{article}\usepackage{booktabs}"
        r"\begin{document}\input{table.tex}\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    said = done.stdout.decode("utf-8", errors="replace")
    assert done.returncode == 0, said
    return said


def complaints(said):
    return re.findall(r"Overfull .*|.*Float too large.*|.*undefined.*", said)


@needs_pdflatex
def test_any_name_compiles_and_fits_the_page(tmp_path):
    warnings = ("This table leaks: 100 % & more.", NAMES[0])
    text = to_latex([table(NAMES, warnings=warnings, remarks=NAMES, second=table(NAMES[:2]))])
    assert complaints(compile_latex(text, tmp_path)) == []


@needs_pdflatex
def test_many_rows_become_several_floats_that_fit(tmp_path):
    names = [f"{name} {index}" for index, name in zip(range(60), itertools.cycle(NAMES))]
    names = [name for name in names if "far-longer" not in name]
    text = to_latex([table(names, second=table(names[1:]))])
    assert text.count(r"\begin{table*}") > 2 * len(names) / MOST_LINES
    assert complaints(compile_latex(text, tmp_path)) == []


def test_every_row_of_a_long_table_is_there_once_and_the_legend_at_its_end():
    names = [f"row {index:03d}" for index in range(2 * MOST_LINES + 3)]
    floats = to_latex([table(names)]).split(r"\begin{table*}")[1:]
    assert len(floats) == 3
    assert re.findall(r"row \d{3}", "".join(floats)) == names
    assert ["Continued in the next table" in part for part in floats] == [True, True, False]
    assert [r"$^{bb}$ Z" in part for part in floats] == [False, False, True]
    assert max(part.count("row ") for part in floats) <= MOST_LINES


def test_a_small_second_table_stands_in_the_same_float():
    text = to_latex([table(["A", "B"], second=table(["C"]))])
    assert text.count(r"\begin{table*}") == 1 and text.count(r"\begin{tabular}") == 2


def test_columns_for_screens_are_left_out_with_their_meaning():
    text = to_latex([table(["A"])])
    assert "Only on screens" not in text and "unprinted" not in text and "Not on paper" not in text
    assert r"50\% \& more." in text


def test_bold_and_small_print():
    text = to_latex([table(["A", "B"], columns=1)])
    assert r"A$^{a,bb}$ & \textbf{41.4 {\scriptsize {[}38.2, 44.6{]}}} \tabularnewline" in text
    assert r"B$^{a,bb}$ & 41.4 {\scriptsize {[}38.2, 44.6{]}} \tabularnewline" in text


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 50% #1 {x}", r"a\_\allowbreak{}b \& 50\% \#1 \{x\}"),
        ("[x]\n  y", "{[}x{]} y"),
        (
            "\\~^<>|",
            r"\textbackslash{}\textasciitilde{}\textasciicircum{}"
            r"\textless{}\textgreater{}\textbar{}",
        ),
        ("ä é ñ Å ç ő", r"\"{a} \'{e} \~{n} \r{A} \c{c} \H{o}"),
        ("→ ≥ \u00d7 ß \u2013", r"$\rightarrow$ $\geq$ $\times$ \ss{} --"),
        ("ế 表 ά", r"\'{\^{e}} U+8868\allowbreak{} U+03AC\allowbreak{}"),
    ],
)
def test_text_is_escaped(text, latex):
    assert escape_latex(text) == latex
