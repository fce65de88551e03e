"""Folds: which clips train, validate and test; stored as CSV files."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_audio.errors import DataError

PARTS = ("train", "validation", "test")
BETWEEN_CLASSES = "|"
"""In the files of folds."""
COLUMNS = ("protocol", "task", "classes", "fold", "part", "inner", "clip_id")


@dataclass(frozen=True)
class Fold:
    """One split of a corpus by clip ids, each part sorted."""

    number: int
    """Counts from 1, as papers do."""
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    inner: tuple[tuple[str, ...], ...] = ()
    """Groups of train and validation clips, each group held out in turn while settings are chosen;
    empty if they are chosen on ``validation``."""


@dataclass(frozen=True)
class Folds:
    """Every fold of a protocol."""

    protocol: str
    """Full name, e.g. ``ravdess-speech-8/emobox6``."""
    classes: tuple[str, ...]
    folds: tuple[Fold, ...]
    task: str = "single"
    """``single``, ``multilabel`` or ``gender-emotion``."""

    def fold(self, number: int) -> Fold:
        """The fold with this number.

        Raises:
            DataError: there is none.
        """
        for fold in self.folds:
            if fold.number == number:
                return fold
        there = ", ".join(str(fold.number) for fold in self.folds)
        raise DataError(f"{self.protocol} has the folds {there}; asked for {number}")

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Every clip of any fold, sorted."""
        parts = (getattr(fold, part) for fold in self.folds for part in PARTS)
        return tuple(sorted({clip_id for part in parts for clip_id in part}))

    @property
    def test_to_train(self) -> float | None:
        """Clips tested over clips learnt from or chosen on; None if a fold has none of these."""
        learnt = [len(one.train) + len(one.validation) for one in self.folds]
        if not all(learnt):
            return None
        return sum(len(one.test) / n for one, n in zip(self.folds, learnt, strict=True)) / len(
            learnt
        )

    def save(self, path: Path) -> None:
        """Writes the columns ``COLUMNS``: classes as ``a|b|c``, inner a number from 1 or empty."""
        about = (self.protocol, self.task, BETWEEN_CLASSES.join(self.classes))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for fold in self.folds:
                inner = {clip_id: n for n, ids in enumerate(fold.inner, 1) for clip_id in ids}
                for part in PARTS:
                    for clip_id in getattr(fold, part):
                        writer.writerow([*about, fold.number, part, inner.get(clip_id), clip_id])

    @classmethod
    def load(cls, path: Path) -> "Folds":
        """Reads what ``save`` wrote; task and inner may be missing.

        Raises:
            DataError: no such file, other columns, or an unknown part.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"folds {path} can't be read: {error}") from None
        needed = set(COLUMNS) - {"task", "inner"}
        if not rows or not needed <= set(rows[0]):
            raise DataError(f"folds {path}: expected columns {', '.join(sorted(needed))}")
        by_fold: dict[int, list[dict[str, Any]]] = {}
        for line, row in enumerate(rows, 2):
            if row["part"] not in PARTS or not row["fold"].isdigit():
                raise DataError(
                    f"folds {path}, line {line}: expected a fold number and one of "
                    f"{', '.join(PARTS)}, got {row['fold']!r} and {row['part']!r}"
                )
            by_fold.setdefault(int(row["fold"]), []).append(row)
        return cls(
            rows[0]["protocol"],
            tuple(rows[0]["classes"].split(BETWEEN_CLASSES)),
            tuple(_read_fold(number, rows) for number, rows in sorted(by_fold.items())),
            rows[0].get("task") or "single",
        )

    @property
    def fingerprint(self) -> str:
        """sha256 of the protocol's name and every fold."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def _read_fold(number: int, rows: list[dict[str, Any]]) -> Fold:
    def sorted_ids(column: str, value: str) -> tuple[str, ...]:
        return tuple(sorted(row["clip_id"] for row in rows if row.get(column) == value))

    inner = sorted({row["inner"] for row in rows if row.get("inner")}, key=int)
    return Fold(
        number,
        train=sorted_ids("part", "train"),
        validation=sorted_ids("part", "validation"),
        test=sorted_ids("part", "test"),
        inner=tuple(sorted_ids("inner", group) for group in inner),
    )
