"""Other people's splits as folds: three lists, a table of folds, or a column of the manifest."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.tables import cells, find_column, needed_clip_column, read_names, read_table
from ssl_audio.data.folds import PARTS, Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]
PART_OF_NAME = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What parts are called."""


def read_lists(
    lists: Mapping[str, Path], names: ClipNames, columns: Mapping[str, str]
) -> tuple[Folds, int]:
    """One fold of up to three lists, and how many names are of files that were set aside.

    Args:
        lists: files by part.
        names: of the corpus.
        columns: of tables, by field.

    Raises:
        UserError: a list that can't be read, names that match no clip, or a single list.
    """
    if len(lists) < 2:
        (part,) = lists
        raise UserError(
            f"--{part} alone can't leak: give at least two of --train, --validation and --test"
        )
    named = {part: read_names(path, columns) for part, path in lists.items()}
    found = {part: names.find_all(named[part], path) for part, path in lists.items()}
    fold = _make_fold(1, found)
    everything = [name for part in named.values() for name in part]
    return Folds("the given lists", (), (fold,)), names.count_set_aside(everything)


def read_folds(path: Path, names: ClipNames, columns: Mapping[str, str]) -> tuple[Folds, int]:
    """Folds of our own files, or of any table of clips with a column of folds, parts or both.

    Without parts, fold k tests its own rows and trains on all others.

    Raises:
        UserError: it can't be read, has neither column, or names clips that are not there.
    """
    table = read_table(path)
    ids = cells(table, needed_clip_column(table, path, columns))
    fold_column = find_column(table, "fold", columns)
    part_column = find_column(table, "split", columns)
    if fold_column is None and part_column is None:
        raise UserError(
            f"{path}: expected a column fold or split (train, validation, test), got "
            f"{', '.join(table.columns[:8])}: say which one with --map fold=COLUMN or split=COLUMN"
        )
    names.find_all(filter(None, ids), path)
    dealt = read_dealt_rows(table, fold_column, part_column, path)
    found = [names.find(name) or () if name else () for name in ids]

    def clips_of(places: Iterable[int]) -> tuple[str, ...]:
        return tuple(sorted({clip_id for place in places for clip_id in found[place]}))

    folds = tuple(
        _make_fold(number, {part: clips_of(places) for part, places in parts.items()})
        for number, parts in dealt.items()
    )
    for fold in folds:
        if sum(bool(getattr(fold, part)) for part in PARTS) < 2:
            raise DataError(
                f"{path}: fold {fold.number} has clips in one part only, which can't leak: it "
                "needs two of train, validation and test"
            )
    protocol = cells(table, "protocol")[0] if "protocol" in table.columns else path.stem
    return Folds(protocol, (), folds), names.count_set_aside(filter(None, ids))


def read_dealt_rows(
    table: "pd.DataFrame", fold_column: str | None, part_column: str | None, path: Path
) -> dict[int, dict[str, Ints]]:
    """By fold and part, the places of a table's rows; rows without either are left out.

    Without parts, fold k tests its own rows and trains on all others; without folds there is one.

    Raises:
        DataError: an unknown part, or a single fold without parts.
    """
    folds = np.array(cells(table, fold_column) if fold_column else ["1"] * len(table))
    numbers = _number(set(folds[folds != ""].tolist()))
    if part_column is None:
        if len(numbers) < 2:
            raise DataError(
                f"{path}: a table of folds without parts needs at least 2 folds, got "
                f"{', '.join(numbers) or 'none'}: add a column split"
            )
        parts = {fold: np.where(folds == fold, "test", "train") for fold in numbers}
        known = folds != ""
    else:
        written = _read_parts(cells(table, part_column), path)
        parts = {fold: np.where(folds == fold, written, "") for fold in numbers}
        known = np.ones(len(folds), dtype=bool)
    return {
        number: {part: np.flatnonzero((parts[fold] == part) & known) for part in PARTS}
        for fold, number in numbers.items()
    }


def read_declared_split(clips: Sequence[Clip]) -> Folds | None:
    """The split that a corpus itself declares; None if it has none, or calls other things so."""
    if not are_parts(clip.split for clip in clips if clip.split is not None):
        return None
    ids: dict[str, list[str]] = {part: [] for part in PARTS}
    for clip in clips:
        if clip.split is not None:
            ids[PART_OF_NAME[clip.split.lower()]].append(clip.clip_id)
    return Folds("the corpus's own split", (), (_make_fold(1, ids),))


def are_parts(written: Iterable[str]) -> bool:
    """Whether all names are of parts, and of two at least; empty ones don't count."""
    named = {name.lower() for name in written if name}
    return named <= PART_OF_NAME.keys() and len({PART_OF_NAME[name] for name in named}) > 1


def _make_fold(number: int, ids: Mapping[str, Iterable[str]]) -> Fold:
    parts = {part: tuple(sorted(ids.get(part, ()))) for part in PARTS}
    return Fold(number, parts["train"], parts["validation"], parts["test"])


def _read_parts(written: Sequence[str], path: Path) -> Strings:
    """Of every row; empty where the table says nothing."""
    if odd := sorted({name for name in written if name and name.lower() not in PART_OF_NAME}):
        raise DataError(
            f"{path}: expected parts train, validation and test, got {odd[0]!r}: rename it, or "
            "leave the column out with a table of folds alone"
        )
    return np.array([PART_OF_NAME.get(name.lower(), "") for name in written])


def _number(folds: set[str]) -> dict[str, int]:
    """Their own numbers, else numbers from 1 in the order of their names."""
    if all(fold.isdigit() for fold in folds) and len(set(map(int, folds))) == len(folds):
        return {fold: int(fold) for fold in sorted(folds, key=int)}
    return {fold: number for number, fold in enumerate(sorted(folds), 1)}
