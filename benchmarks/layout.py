"""Scored sections as tables: rows of different protocols share none."""

from collections.abc import Sequence

from benchmarks.columns import choose_columns
from benchmarks.comparisons import ALPHA, Comparison
from benchmarks.page import Cell, Heading, Table, letters, marks_of
from benchmarks.provenance import describe_provenance, find_mixtures
from benchmarks.scoring import Row, Section
from benchmarks.statistics import ENOUGH_SPEAKERS, Estimate

NAME = Heading("System", latex=r"p{0.2\textwidth}")
Legend = Sequence[tuple[str, str]]


def lay_out(section: Section) -> Table:
    """The table of a protocol and, below it, how its best row compares with the others."""
    columns, once = choose_columns(section)
    legend = list(zip(letters(len(section.notes)), section.notes, strict=True))
    return Table(
        title=title_of(section),
        headings=(NAME, *(column.heading for column in columns)),
        rows=tuple(
            (name_cell(row, legend), *(column.cell(row, _wins(section, row)) for column in columns))
            for row in section.rows
        ),
        warnings=(*filter(None, [section.warning]), *find_mixtures(section.rows)),
        scale=f"Percent, over pooled test predictions{_describe_interval(section)}.",
        remarks=(
            *once,
            *section.caveats,
            *_explain_bold(section),
            *([section.resolution.describe()] if section.resolution else []),
            describe_provenance(section.rows),
        ),
        legend=tuple(legend),
        second=_lay_out_comparisons(section, legend),
    )


def title_of(section: Section) -> str:
    """Protocol, task and classes of a table."""
    apart = ", leaky" if section.warning else ""
    return f"{section.protocol} ({section.task}, {len(section.classes)} classes{apart})"


def name_cell(row: Row, legend: Legend) -> Cell:
    """A row's name with the marks of its notes."""
    return Cell(row.about.system, row.about.system, marks_of(legend, row.notes))


def _wins(section: Section, row: Row) -> bool:
    return row.about.system in section.winners


def _describe_interval(section: Section) -> str:
    """What the brackets are, if any row has them; by recording only where speakers are unknown."""
    units = {
        "recording" if row.num_speakers is None else "speaker"
        for row in section.rows
        if row.estimates["uar"].low is not None
    }
    if not units:
        return ""
    unit = " or, where speakers are unknown, ".join(sorted(units, reverse=True))
    return f"; in brackets the 95 % t interval clustered by {unit} (jackknife)"


def _explain_bold(section: Section) -> list[str]:
    """What bold means here, or why nothing is; nothing of a table that leaks."""
    if section.warning:
        return []
    num_pairs = sum(pair.p_holm is not None for pair in section.comparisons)
    pairs = f"the {num_pairs} pair{'s' * (num_pairs > 1)} of the table"
    tested = f"(p < {ALPHA:g}, paired over speakers, Holm-corrected over {pairs})"
    barred = len(section.candidates) < len(section.rows)
    others = "every other row that no mark bars" if barred else "every other row"
    if section.winners:
        return [f"Bold: its UAR beats that of {others} {tested}."]
    if len(section.candidates) < 2:
        return ["Nothing is bold: there are no two rows that could be the best of the table."]
    if section.is_indicative:
        return [
            f"Nothing is bold: rows rest on fewer than {ENOUGH_SPEAKERS} speakers or on part of "
            "the protocol's folds."
        ]
    if not num_pairs:
        return ["Nothing is bold: no difference could be tested over speakers."]
    return [f"Nothing is bold: no row beats {others} {tested}."]


def _lay_out_comparisons(section: Section, legend: Legend) -> Table | None:
    """The best candidate against every other row, best first."""
    if len(section.rows) < 2 or not section.candidates or not section.comparisons:
        return None
    leader = section.candidates[-1]
    pairs = {
        other: pair
        for pair in section.comparisons
        for one, other in ((pair.first, pair.second), (pair.second, pair.first))
        if one == leader
    }
    others = [row for row in reversed(section.rows) if row.about.system != leader]
    return Table(
        title=f"{leader} against every other row",
        headings=(
            Heading("Against", latex=r"p{0.3\textwidth}"),
            Heading("Difference, points"),
            Heading("p"),
            Heading("p, Holm"),
            Heading("p, folds"),
        ),
        rows=tuple(
            (name_cell(row, legend), *_compare_cells(leader, pairs[row.about.system]))
            for row in others
        ),
        remarks=(
            f"Difference: UAR of {leader} minus the other's, with its 95 % interval paired over "
            "speakers. p: paired over speakers; Holm: corrected over all pairs of the table; "
            "folds: secondary, Nadeau and Bengio's corrected t over folds. A dash: can't be "
            "tested, as speakers are unknown or too few, one fold judged all of them, or the tests "
            "differ.",
        ),
    )


def _compare_cells(leader: str, pair: Comparison) -> tuple[Cell, ...]:
    difference = pair.difference if pair.first == leader else _negate(pair.difference)
    text = _points(difference.value)
    if difference.low is not None and difference.high is not None:
        text += f" [{_points(difference.low)}, {_points(difference.high)}]"
    p_values = (pair.p_value, pair.p_holm, pair.p_folds)
    return Cell(text, difference.value), *(Cell(describe_p(p), p) for p in p_values)


def _points(share: float) -> str:
    """With its sign; nothing at all is +0.0."""
    return f"{round(100 * share, 1) + 0:+.1f}"


def _negate(difference: Estimate) -> Estimate:
    if difference.low is None or difference.high is None:
        return Estimate(-difference.value)
    return Estimate(-difference.value, -difference.high, -difference.low)


def describe_p(p_value: float | None) -> str:
    """Four digits; a dash where there is no test."""
    if p_value is None:
        return "\N{EN DASH}"
    return "< 0.0001" if p_value < 0.0001 else f"{p_value:.4f}"
