"""Rows of somebody's table, dealt to folds and parts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.part_names import are_parts, read_parts
from ssl_audio.data.folds import PARTS
from ssl_audio.errors import DataError

Ints = npt.NDArray[np.int64]
_WHOLE = re.compile(r"^(\d+)\.0+$")
"""As whole numbers are written in a column that lacks some."""
_NEVER_TESTED = "-1"
"""As scikit-learn's PredefinedSplit has it."""
_LAST_NUMBER = re.compile(r"(?<!\d)\d{1,9}$")


@dataclass(frozen=True)
class Dealing:
    """What is said of each row; empty where nothing is."""

    folds: Sequence[str] | None
    """Names; None if there is one fold."""
    parts: Sequence[str] | None
    """What the writer calls them; None if folds alone are told."""

    @classmethod
    def of_columns(cls, folds: Sequence[str] | None, parts: Sequence[str] | None) -> "Dealing":
        """Of a column of folds and one of parts; what is called fold may well hold parts."""
        if parts is None and folds is not None and are_parts(folds):
            return cls(None, folds)
        return cls(folds, parts)

    def places(self, path: Path) -> dict[int, dict[str, Ints]]:
        """By fold and part, the places of the rows; rows that say neither are left out.

        Without parts, fold k tests its own rows and trains on all others; rows of fold -1 are
        never tested.

        Args:
            path: for messages.

        Raises:
            DataError: an unknown part, or a single fold without parts.
        """
        num_rows = len(self.folds if self.folds is not None else self.parts or ())
        told = self.folds if self.folds is not None else ["1"] * num_rows
        folds = np.array([_WHOLE.sub(r"\1", fold) for fold in told])
        never_tested = {""} if self.parts is not None else {"", _NEVER_TESTED}
        numbers = _number(set(folds.tolist()) - never_tested)
        if self.parts is None:
            if len(numbers) < 2:
                raise DataError(
                    f"{path}: a table of folds without parts needs at least 2 folds, got "
                    f"{', '.join(numbers) or 'none'}: add a column split"
                )
            parts = {fold: np.where(folds == fold, "test", "train") for fold in numbers}
            known = folds != ""
        else:
            written = read_parts(self.parts, path)
            parts = {fold: np.where(folds == fold, written, "") for fold in numbers}
            known = np.ones(len(folds), dtype=bool)
        return {
            number: {part: np.flatnonzero((parts[fold] == part) & known) for part in PARTS}
            for fold, number in numbers.items()
        }


def _number(folds: set[str]) -> dict[str, int]:
    """The numbers that they end in, else from 1 in the order of their names, 2 before 10."""
    ends = {fold: int(match[0]) for fold in folds if (match := _LAST_NUMBER.search(fold))}
    if len(ends) == len(set(ends.values())) == len(folds):
        return dict(sorted(ends.items(), key=lambda item: item[1]))
    in_order = sorted(folds, key=lambda fold: (_pad(fold), fold))
    return {fold: number for number, fold in enumerate(in_order, 1)}


def _pad(name: str) -> str:
    return re.sub(r"\d+", lambda match: match[0].zfill(20), name)
