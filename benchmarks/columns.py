"""What the columns of a table say, in every format."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.page import Cell, Heading
from benchmarks.scoring import Row, Section
from benchmarks.statistics import ENOUGH_SPEAKERS, Estimate


@dataclass(frozen=True)
class Column:
    """One column after the system's name."""

    header: str
    text: Callable[[Row], str]
    """What a cell says."""
    value: Callable[[Row], float | str | None]
    """What a cell sorts by; None sorts last."""
    once: bool = False
    """If every row says the same, it is said once, below the table."""
    latex: str = "l"
    """Its form in LaTeX; empty if it is left out, as a page is narrower than a screen."""
    small: bool = False
    """In small print in LaTeX."""
    meaning: str = ""
    """Explains the header below the table."""
    headline: bool = False
    """Bold in the row that beats all others."""

    @property
    def heading(self) -> Heading:
        """Its head."""
        return Heading(self.header, self.latex, self.small, self.meaning)

    def cell(self, row: Row, winner: bool) -> Cell:
        """What it says of a row."""
        return Cell(self.text(row), self.value(row), bold=winner and self.headline)


def choose_columns(section: Section) -> tuple[list[Column], list[str]]:
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


def describe_score(estimate: Estimate) -> str:
    """Percent with the interval in brackets: ``41.4 [38.2, 44.6]``."""
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.value:.1f}"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _score_column(metric: str, header: str, meaning: str, headline: bool = False) -> Column:
    """Empty in rows of a task that has no such score."""

    def text(row: Row) -> str:
        return describe_score(row.estimates[metric]) if metric in row.estimates else ""

    def value(row: Row) -> float | None:
        return row.estimates[metric].value if metric in row.estimates else None

    return Column(
        header,
        text,
        value,
        meaning=f"{header}: {meaning}.",
        headline=headline,
    )


def _describe_fold_sd(row: Row) -> str:
    spread = row.fold_sds["uar"]
    return "" if spread is None else f"{100 * spread:.1f}"


def _describe_speakers(row: Row) -> str:
    if row.num_speakers is None:
        return "unknown"
    few = ", indicative" if row.num_speakers < ENOUGH_SPEAKERS else ""
    return f"n = {row.num_speakers}{few}"


def _describe_weights(row: Row) -> str:
    weights = row.about.parameters
    if weights is None:
        return ""
    if weights < 1000:
        return str(weights)
    return f"{weights / 1e3:.1f} k" if weights < 1e6 else f"{weights / 1e6:.1f} M"


def _describe_seconds(row: Row) -> str:
    seconds = row.about.train_seconds
    return "" if seconds is None else f"{seconds:.1f}"


COLUMNS = (
    _score_column("uar", "UAR", "unweighted average recall", headline=True),
    _score_column("wa", "WA", "accuracy"),
    _score_column("macro_f1", "Macro-F1", "unweighted mean of the classes' F1"),
    _score_column("emotion_uar", "Emotion UAR", "of the emotion alone, whatever the gender"),
    _score_column("gender_accuracy", "Gender accuracy", "of the gender alone"),
    _score_column("gender_gap", "Gender gap", "emotion UAR of women minus that of men, in points"),
    Column(
        "Fold SD",
        _describe_fold_sd,
        lambda row: row.fold_sds["uar"],
        meaning="Fold SD: standard deviation of the UAR over folds, in points.",
    ),
    Column(
        "Speakers",
        _describe_speakers,
        lambda row: row.num_speakers,
        latex=r"p{0.07\textwidth}",
        small=True,
    ),
    Column("Clips", lambda row: str(row.num_clips), lambda row: row.num_clips, once=True, latex=""),
    Column("Folds", lambda row: str(len(row.folds)), lambda row: len(row.folds), once=True),
    Column("Seeds", lambda row: str(len(row.seeds)), lambda row: len(row.seeds), once=True),
    Column(
        "ECE",
        lambda row: f"{100 * row.estimates['calibration_error'].value:.1f}",
        lambda row: row.estimates["calibration_error"].value,
        latex="",
        meaning="ECE: expected calibration error, 15 bins.",
    ),
    Column("Weights", _describe_weights, lambda row: row.about.parameters, once=True),
    Column(
        "Training, s",
        _describe_seconds,
        lambda row: row.about.train_seconds,
        latex="",
        meaning="Training: seconds for one fold and seed, on average, with all features made anew.",
    ),
    Column(
        "Pretrained on",
        lambda row: row.about.pretraining_data,
        lambda row: row.about.pretraining_data or None,
        once=True,
        latex=r"p{0.08\textwidth}",
        small=True,
    ),
)
