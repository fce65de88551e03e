"""Who is understood how well: recalls by speaker and by gender. Imports no torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune import metrics
from finetune.metrics import Floats, Ints

UNKNOWN = "unknown"
Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GroupScore:
    """One row: the clips of a gender or of a speaker."""

    group: str
    """Its name; ``unknown`` for clips of nobody known."""
    num_clips: int
    scores: dict[str, float]
    """``uar`` over the classes that its clips have and ``wa``; of clips of several classes
    ``mean_recall`` and ``macro_f1`` over these classes."""
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
    """Mean recall of the female speakers' clips minus that of the male ones', over the classes that
    both have; None if they share none. Pooled over the speakers of each, who may be few."""

    def describe(self) -> list[str]:
        """Lines of text: a table of genders, the gap between them, a table of speakers."""
        gap = []
        if self.gender_gap is not None:
            name = "UAR" if "uar" in self.genders[0].scores else "recall"
            gap = [f"gap, female - male {name}: {self.gender_gap:+.3f}"]
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

    def score(chosen: Chosen) -> tuple[Floats, dict[str, float]]:
        confusion = metrics.confusion_matrix(labels[chosen], probabilities[chosen])
        recalls = metrics.recalls(confusion)
        return recalls, {"uar": _mean(recalls), "wa": float(metrics.wa(confusion))}

    return _tabulate(speakers, genders, classes, score)


def score_multilabel_groups(
    targets: Ints,
    decided: Ints,
    speakers: Sequence[str | None],
    genders: Sequence[str | None],
    classes: Sequence[str],
) -> GroupScores:
    """The same of clips that hold any number of classes.

    Args:
        targets: (clips, classes) int64, 1 where the class is there.
        decided: the same, where it is said to be there.
        speakers: as ``score_groups``.
        genders: the same.
        classes: the same.

    Raises:
        ValueError: no clips, or numbers that differ.
    """
    counts = (len(targets), len(decided), len(speakers), len(genders))
    shape = (len(targets), len(classes))
    if len(set(counts)) > 1 or not len(targets) or {targets.shape, decided.shape} != {shape}:
        raise ValueError(
            "expected as many targets, decisions, speakers and genders, at least one, got "
            f"{counts}; and {len(classes)} columns, got {targets.shape} and {decided.shape}"
        )

    def score(chosen: Chosen) -> tuple[Floats, dict[str, float]]:
        true, said = targets[chosen], decided[chosen]
        num_true, num_found = true.sum(0), (true * said).sum(0)
        present = num_true > 0
        recalls = np.where(present, num_found / np.maximum(num_true, 1), np.nan)
        f1 = 2 * num_found[present] / (num_true + said.sum(0))[present]
        return recalls, {"mean_recall": _mean(recalls), "macro_f1": _mean(f1)}

    return _tabulate(speakers, genders, classes, score)


def _tabulate(
    speakers: Sequence[str | None],
    genders: Sequence[str | None],
    classes: Sequence[str],
    score: Callable[[Chosen], tuple[Floats, dict[str, float]]],
) -> GroupScores:
    """Both tables.

    Args:
        speakers: of each clip.
        genders: of each clip.
        classes: names.
        score: from chosen clips to the (classes,) recalls, NaN where they lack one, and
            scores by name.
    """
    by_gender, by_speaker = (
        tuple(_score_each(groups, tuple(classes), score)) for groups in (genders, speakers)
    )
    return GroupScores(tuple(classes), by_gender, by_speaker, _find_gap(by_gender))


def _score_each(
    groups: Sequence[str | None],
    classes: tuple[str, ...],
    score: Callable[[Chosen], tuple[Floats, dict[str, float]]],
) -> Iterator[GroupScore]:
    """By the groups' names, unknown last."""
    named = np.array([UNKNOWN if group is None else group for group in groups])
    for group in sorted(set(named.tolist()), key=lambda group: (group == UNKNOWN, group)):
        chosen = named == group
        found, scores = score(chosen)
        recalls = dict(zip(classes, found.tolist(), strict=True))
        recalls = {name: recall for name, recall in recalls.items() if not np.isnan(recall)}
        yield GroupScore(group, int(chosen.sum()), scores, recalls)


def _mean(values: Floats) -> float:
    """Without NaN; NaN if there is nothing else."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _find_gap(by_gender: Sequence[GroupScore]) -> float | None:
    recalls = {row.group: row.recalls for row in by_gender}
    female, male = recalls.get("female", {}), recalls.get("male", {})
    gaps = [female[name] - male[name] for name in female if name in male]
    return float(np.mean(gaps)) if gaps else None


def _format_table(
    heading: str, rows: Sequence[GroupScore], classes: Sequence[str]
) -> Iterator[str]:
    """A heading and a line for each row; columns are as wide as their names."""
    width = max(len(text) for text in (heading, *(row.group for row in rows)))
    columns = ["clips", *rows[0].scores, *classes]
    widths = [max(len(column), 5) for column in columns]
    yield "  ".join([heading.ljust(width), *map(str.rjust, columns, widths)])
    for row in rows:
        recalls = [f"{row.recalls[name]:.3f}" if name in row.recalls else "-" for name in classes]
        scores = [f"{value:.3f}" for value in row.scores.values()]
        cells = [str(row.num_clips), *scores, *recalls]
        yield "  ".join([row.group.ljust(width), *map(str.rjust, cells, widths)])
