"""Who is understood how well: recalls by speaker and by gender. Imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finetune import metrics
from finetune.metrics import Floats, Ints

UNKNOWN = "unknown"


@dataclass(frozen=True)
class GroupScore:
    """One row: the clips of a gender or of a speaker."""

    group: str
    """Its name; ``unknown`` for clips of nobody known."""
    num_clips: int
    uar: float
    """Over the classes that its clips have."""
    wa: float
    recalls: dict[str, float]
    """By class; those that its clips lack are not there."""


@dataclass(frozen=True)
class GroupScores:
    """Tables of one set of predictions."""

    classes: tuple[str, ...]
    genders: tuple[GroupScore, ...]
    """By name, unknown last; so are the speakers."""
    speakers: tuple[GroupScore, ...]
    gender_gap: float | None
    """UAR of the female speakers' clips minus that of the male ones', over the classes that both
    have; None if they share none. Pooled over the speakers of each, who may be few."""

    def describe(self) -> list[str]:
        """Lines of text: a table of genders, the gap between them, a table of speakers."""
        gap = [] if self.gender_gap is None else [f"gap, female - male UAR: {self.gender_gap:+.3f}"]
        return [
            *_format_table("gender", self.genders, self.classes),
            *gap,
            "",
            *_format_table("speaker", self.speakers, self.classes),
        ]


def score_groups(
    labels: Ints,
    probabilities: Floats,
    speakers: Sequence[str | None],
    genders: Sequence[str | None],
    classes: Sequence[str],
) -> GroupScores:
    """Recalls by gender and by speaker of one set of predictions.

    Args:
        labels: (clips,) int64, indices into ``classes``.
        probabilities: (clips, classes) float64, rows sum to 1.
        speakers: per clip; None where unknown.
        genders: per clip, ``female`` or ``male``; None where unknown.
        classes: names, in the order of the columns.

    Raises:
        ValueError: no clips, or numbers that differ.
    """
    counts = (len(labels), len(probabilities), len(speakers), len(genders))
    if len(set(counts)) > 1 or not len(labels) or probabilities.shape[1] != len(classes):
        raise ValueError(
            "expected as many labels, rows of probabilities, speakers and genders, at least one, "
            f"got {counts}; and {len(classes)} columns, got shape {probabilities.shape}"
        )
    by_gender = _confusions(labels, probabilities, genders)
    by_speaker = _confusions(labels, probabilities, speakers)
    names = tuple(classes)
    return GroupScores(
        names,
        tuple(_score(group, confusion, names) for group, confusion in by_gender.items()),
        tuple(_score(group, confusion, names) for group, confusion in by_speaker.items()),
        _compare(by_gender.get("female"), by_gender.get("male")),
    )


def _confusions(
    labels: Ints, probabilities: Floats, groups: Sequence[str | None]
) -> dict[str, Floats]:
    """(classes, classes) confusion matrix by group's name, unknown last."""
    named = np.array([UNKNOWN if group is None else group for group in groups])
    order = sorted(set(named.tolist()), key=lambda group: (group == UNKNOWN, group))
    return {
        group: metrics.confusion_matrix(labels[named == group], probabilities[named == group])
        for group in order
    }


def _score(group: str, confusion: Floats, classes: tuple[str, ...]) -> GroupScore:
    recalls = zip(classes, metrics.recalls(confusion).tolist(), strict=True)
    return GroupScore(
        group=group,
        num_clips=round(confusion.sum()),
        uar=float(metrics.uar(confusion)),
        wa=float(metrics.wa(confusion)),
        recalls={name: recall for name, recall in recalls if not np.isnan(recall)},
    )


def _compare(female: Floats | None, male: Floats | None) -> float | None:
    if female is None or male is None:
        return None
    gaps = metrics.recalls(female) - metrics.recalls(male)
    shared = gaps[~np.isnan(gaps)]
    return float(shared.mean()) if len(shared) else None


def _format_table(
    heading: str, rows: Sequence[GroupScore], classes: Sequence[str]
) -> Iterator[str]:
    """A heading and a line for each row; columns are as wide as their names."""
    width = max(len(text) for text in (heading, *(row.group for row in rows)))
    columns = ["clips", "uar", "wa", *classes]
    widths = [max(len(column), 5) for column in columns]
    yield "  ".join([heading.ljust(width), *map(str.rjust, columns, widths)])
    for row in rows:
        recalls = [f"{row.recalls[name]:.3f}" if name in row.recalls else "-" for name in classes]
        cells = [str(row.num_clips), f"{row.uar:.3f}", f"{row.wa:.3f}", *recalls]
        yield "  ".join([row.group.ljust(width), *map(str.rjust, cells, widths)])
