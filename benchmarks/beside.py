"""Our rows beside published figures: a column for each protocol, as no two can be compared."""

from collections.abc import Sequence

from benchmarks.columns import describe_score
from benchmarks.layout import NAME
from benchmarks.page import Cell, Heading, Table, letters, marks_of
from benchmarks.published import GRADES, Published
from benchmarks.scoring import Row, Section
from benchmarks.statistics import Estimate

METRICS = {"uar": "UAR", "wa": "accuracy", "macro_f1": "macro-F1"}
WIDTH = 0.8
"""Of the page, shared by the columns after the name in LaTeX, each with 3 pt on both sides."""


def lay_out_beside(sections: Sequence[Section], published: Sequence[Published]) -> dict[str, Table]:
    """By corpus, where there are both rows of ours and published figures.

    Tables that leak are left out: their rows show an inflation, not a system.
    """
    tables = {}
    honest = [section for section in sections if not section.warning]
    for corpus in dict.fromkeys(map(corpus_of, honest)):
        theirs = [figure for figure in published if figure.corpus == corpus]
        if theirs:
            ours = [section for section in honest if corpus_of(section) == corpus]
            tables[corpus] = _lay_out(corpus, ours, theirs)
    return tables


def corpus_of(section: Section) -> str:
    """``ravdess-speech-8`` of ``ravdess-speech-8/emobox6``."""
    return section.protocol.split("/")[0]


def _lay_out(corpus: str, ours: Sequence[Section], theirs: Sequence[Published]) -> Table:
    columns = list(dict.fromkeys((figure.protocol, figure.metric) for figure in theirs))
    about = {protocol: _describe(protocol, theirs) for protocol, _ in columns}
    notes = list(dict.fromkeys([*_our_notes(ours), *about.values()]))
    legend = tuple(zip(letters(len(notes)), notes, strict=True))
    cells = _our_cells(ours, legend)
    for figure in theirs:
        cells.setdefault(figure.system, {})[figure.protocol, figure.metric] = _cell(figure)
    recomputed = list(dict.fromkeys((section.protocol, "uar") for section in ours))
    # A page has no room for more than the first metric of each.
    in_latex = {**dict(recomputed), **dict(reversed(columns))}
    form = rf"p{{\dimexpr{WIDTH / len(in_latex):.3f}\textwidth-6pt\relax}}"
    headings = [
        Heading(
            f"{protocol.removeprefix(f'{corpus}/')}: {METRICS[metric]}",
            latex=form if in_latex[protocol] == metric else "",
            small=True,
            marks=marks_of(legend, [about.get(protocol, "")]),
        )
        for protocol, metric in [*recomputed, *columns]
    ]
    return Table(
        title=f"{corpus}: beside published figures",
        headings=(NAME, *headings),
        rows=tuple(
            (
                Cell(system, system),
                *(row.get(column, Cell("")) for column in [*recomputed, *columns]),
            )
            for system, row in cells.items()
        ),
        scale="Percent; in brackets 95 % intervals, SD over folds where published. One column "
        "for each protocol: figures of different columns can't be compared.",
        remarks=(
            f"Recomputed from predictions: {', '.join(section.protocol for section in ours)}. All "
            "else is as published, followed by its grade.",
            f"Grades: {'; '.join(f'{grade} {text}' for grade, text in _used(theirs).items())}.",
        ),
        legend=legend,
    )


def _our_notes(ours: Sequence[Section]) -> list[str]:
    return [note for section in ours for row in section.rows for note in _against(row)]


def _against(row: Row) -> tuple[str, ...]:
    """Why it can't be compared with a published row of the same protocol."""
    return *row.barred, *filter(None, [row.partial])


def _our_cells(
    ours: Sequence[Section], legend: Sequence[tuple[str, str]]
) -> dict[str, dict[tuple[str, str], Cell]]:
    """By system, then by protocol and metric; best first."""
    cells: dict[str, dict[tuple[str, str], Cell]] = {}
    for section in ours:
        for row in reversed(section.rows):
            estimate = row.estimates["uar"]
            cells.setdefault(row.about.system, {})[section.protocol, "uar"] = Cell(
                describe_score(estimate), estimate.value, marks_of(legend, _against(row))
            )
    return cells


def _cell(figure: Published) -> Cell:
    text = describe_score(Estimate(figure.value, figure.ci_low, figure.ci_high))
    for name, spread in (("fold SD", figure.fold_sd), ("SD of runs", figure.run_sd)):
        if spread is not None:
            text += f" ({name} {100 * spread:.1f})"
    return Cell(f"{text} {figure.grade}", figure.value)


def _describe(protocol: str, figures: Sequence[Published]) -> str:
    """What a legend says of a published protocol."""
    members = [figure for figure in figures if figure.protocol == protocol]

    def every(field: str) -> str:
        return "; ".join(dict.fromkeys(filter(None, (getattr(item, field) for item in members))))

    speakers = sorted({item.num_speakers for item in members if item.num_speakers is not None})
    parts = {
        "test clips of ": every("same_folds_as"),
        "speakers: ": ", ".join(map(str, speakers)),
        "settings chosen: ": every("selection"),
        "note: ": every("note"),
        "source: ": every("source"),
    }
    told = "; ".join(f"{name}{text}" for name, text in parts.items() if text)
    return f"{protocol}: {told}."


def _used(figures: Sequence[Published]) -> dict[str, str]:
    used = {figure.grade for figure in figures}
    return {grade: text for grade, text in GRADES.items() if grade in used}
