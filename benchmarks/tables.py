"""Predictions to the table of a paper, in every format."""

import csv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.beside import corpus_of, lay_out_beside
from benchmarks.figures import SectionPictures, draw_figures
from benchmarks.formats.html import to_html
from benchmarks.formats.latex import to_latex
from benchmarks.formats.markdown import to_markdown
from benchmarks.layout import lay_out
from benchmarks.page import Table
from benchmarks.published import load_published
from benchmarks.results import SystemResult, load_results
from benchmarks.scoring import SCORES, Row, Section, score_all
from finetune.metrics import confusion_matrix

CSV_COLUMNS = (
    "system",
    "task",
    "protocol",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "fold_sd",
    "n_clips",
    "n_speakers",
    "n_folds",
    "n_seeds",
    "parameters",
    "train_seconds",
    "pretraining_data",
    "leak",
    "barred",
)
COMPARISON_COLUMNS = (
    "task",
    "protocol",
    "first",
    "second",
    "difference",
    "ci_low",
    "ci_high",
    "p",
    "p_holm",
    "p_folds",
    "n_speakers",
)

FOLD_COLUMNS = ("system", "task", "protocol", "fold", "seed", *SCORES, "n_clips")


def build_tables(results: Path) -> str:
    """Writes ``results.csv``, ``comparisons.csv``, ``folds.csv``, ``table.*`` and ``figures/``.

    Equal predictions give equal bytes.

    Args:
        results: a folder with ``predictions/*.parquet``.

    Returns:
        The Markdown tables, which read well on a terminal too, but for those beside published
        figures, which are too wide.

    Raises:
        UserError: no predictions, or ones that can't be scored.
    """
    loaded = load_results(results)
    write_folds(loaded, results / "folds.csv")
    sections = score_all(loaded)
    write_csv(sections, results / "results.csv")
    write_comparisons(sections, results / "comparisons.csv")
    tables = [lay_out(section) for section in sections]
    beside = lay_out_beside(sections, load_published())
    pictures = draw_figures(sections, results / "figures")
    last_of = {corpus_of(section): section for section in sections if not section.warning}
    illustrated: list[tuple[Table, SectionPictures | None]] = []
    for section, table, below in zip(sections, tables, pictures, strict=True):
        illustrated.append((table, below))
        if section is last_of.get(corpus_of(section)) and corpus_of(section) in beside:
            illustrated.append((beside[corpus_of(section)], None))
    every = [table for table, _ in illustrated]
    for name, text in (
        ("table.md", to_markdown(every)),
        ("table.tex", to_latex(every)),
        ("table.html", to_html(illustrated)),
    ):
        (results / name).write_text(text, encoding="utf-8")
    return to_markdown(tables)


def write_csv(sections: Sequence[Section], path: Path) -> None:
    """One line for each metric of each row, columns as in ``CSV_COLUMNS``; unknown is empty.

    Rows with a reason in ``barred`` are not to be ranked with the others: never bold in a table.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for section in sections:
            for row in section.rows:
                writer.writerows(_csv_line(row, metric) for metric in row.estimates)


def write_comparisons(sections: Sequence[Section], path: Path) -> None:
    """One line for each pair of rows that share a table, the better one first."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COMPARISON_COLUMNS)
        for section in sections:
            for pair in section.comparisons:
                difference = pair.difference
                writer.writerow(
                    [
                        section.task,
                        section.protocol,
                        pair.first,
                        pair.second,
                        *map(_number, (difference.value, difference.low, difference.high)),
                        *map(_significant, (pair.p_value, pair.p_holm, pair.p_folds)),
                        pair.num_speakers,
                    ]
                )


def write_folds(systems: Sequence[SystemResult], path: Path) -> None:
    """One line for each system, fold and seed, so that no average hides a fold."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FOLD_COLUMNS)
        for result in systems:
            about = result.about
            runs = result.frame.groupby(["fold", "seed"], sort=True).indices
            for (fold, seed), rows in runs.items():
                confusion = confusion_matrix(result.labels[rows], result.probabilities[rows])
                scores = (_number(float(score(confusion))) for score in SCORES.values())
                writer.writerow(
                    [about.system, about.task, about.protocol, fold, seed, *scores, len(rows)]
                )


def _csv_line(row: Row, metric: str) -> dict[str, object]:
    estimate, about = row.estimates[metric], row.about
    return {
        "system": about.system,
        "task": about.task,
        "protocol": about.protocol,
        "metric": metric,
        "value": _number(estimate.value),
        "ci_low": _number(estimate.low),
        "ci_high": _number(estimate.high),
        "fold_sd": _number(row.fold_sds.get(metric)),
        "n_clips": row.num_clips,
        "n_speakers": row.num_speakers,
        "n_folds": len(row.folds),
        "n_seeds": len(row.seeds),
        "parameters": about.parameters,
        "train_seconds": _number(about.train_seconds, 1),
        "pretraining_data": about.pretraining_data,
        "leak": about.leak,
        "barred": "; ".join(row.barred),
    }


def _number(value: float | None, digits: int = 6) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _significant(p_value: float | None) -> str:
    return "" if p_value is None else f"{p_value:.6g}"
