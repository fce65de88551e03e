"""Folds: which clips train, validate and test; stored as CSV files, speaker-disjoint by default."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ssl_audio.errors import DataError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Fold:
    """One split of a corpus by clip ids, each part sorted."""

    number: int
    """Counts from 1, as papers do."""
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Folds:
    """Every fold of a protocol."""

    protocol: str
    """Full name, e.g. ``ravdess-speech-8/emobox6``."""
    classes: tuple[str, ...]
    folds: tuple[Fold, ...]

    def fold(self, number: int) -> Fold:
        """The fold with this number.

        Raises:
            DataError: there is none.
        """
        for fold in self.folds:
            if fold.number == number:
                return fold
        raise DataError(f"{self.protocol} has folds 1 to {len(self.folds)}, asked for {number}")

    def save(self, path: Path) -> None:
        """Writes columns protocol, classes (``a|b|c``), fold, part, clip_id."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["protocol", "classes", "fold", "part", "clip_id"])
            for fold in self.folds:
                for part in PARTS:
                    for clip_id in getattr(fold, part):
                        row = [self.protocol, "|".join(self.classes), fold.number, part, clip_id]
                        writer.writerow(row)

    @classmethod
    def load(cls, path: Path) -> "Folds":
        """Reads what ``save`` wrote.

        Raises:
            DataError: no such file, other columns, or an unknown part.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"folds {path} can't be read: {error}") from None
        needed = {"protocol", "classes", "fold", "part", "clip_id"}
        if not rows or not needed <= set(rows[0]):
            raise DataError(f"folds {path}: expected columns {', '.join(sorted(needed))}")
        parts: dict[int, dict[str, list[str]]] = {}
        for line, row in enumerate(rows, 2):
            if row["part"] not in PARTS or not row["fold"].isdigit():
                raise DataError(
                    f"folds {path}, line {line}: expected a fold number and one of "
                    f"{', '.join(PARTS)}, got {row['fold']!r} and {row['part']!r}"
                )
            fold = parts.setdefault(int(row["fold"]), {part: [] for part in PARTS})
            fold[row["part"]].append(row["clip_id"])
        folds = tuple(
            Fold(number, *(tuple(sorted(fold[part])) for part in PARTS))
            for number, fold in sorted(parts.items())
        )
        return cls(rows[0]["protocol"], tuple(rows[0]["classes"].split("|")), folds)

    @property
    def fingerprint(self) -> str:
        """sha256 of the protocol's name and every fold."""
        return hashlib.sha256(repr(self).encode()).hexdigest()
