"""Somebody's table of features: rows, whose clips they are, and on which side of a split."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.dealt_rows import Dealing
from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.part_names import are_parts
from ssl_audio.audit.tables import cells, find_clip_column, find_column, read_table
from ssl_audio.data.folds import PARTS, Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
OWN_SPLIT = "the split of the feature table"
MOST_GAPS = 0.5
"""Share of a row's features, and of a feature's rows, that may lack where the row counts."""
LARGEST = 1e100
"""Of a feature; its inverse is the least range."""
NO_FEATURES = frozenset(("protocol", "task", "seed", "inner", "index", "row", "offset_seconds"))
"""Columns of numbers that are none, beside those that have a meaning of their own."""

_FRAME = re.compile(
    r"(?P<clip>.+)[_#@: -](?:frame|f|segment|seg|s|window|win|w|chunk|part|slice)?[_-]?"
    r"\d+(?:\.\d+)?"
)
"""How tables call a part of a clip: ``NAME_frame12``, ``NAME#3``, ``NAME@0.50``."""


@dataclass(frozen=True)
class FeatureTable:
    """Rows of features."""

    values: Floats
    """(rows, features), finite; features that are alike in all rows are left out."""
    features: tuple[str, ...]
    """Their names."""
    names: tuple[str, ...]
    """Of the rows, for reports: the clip they are of, with the row's number where that is needed
    or nothing is known."""
    clip_ids: tuple[str | None, ...]
    """Of the clip that a row is of; None if it names none of the corpus, as made-up rows do."""
    labels: tuple[str | None, ...]
    speakers: tuple[str | None, ...]
    own_rows: Mapping[int, Mapping[str, npt.NDArray[np.int64]]]
    """By fold and part, places of rows; empty if the table does not split itself."""
    num_dropped: int
    """Features with gaps or infinities, or too large or too small to compute with."""
    num_empty: int
    """Rows that were left out, because they lack most features."""

    def __len__(self) -> int:
        return len(self.values)

    def name_group(self, rows: Iterable[int]) -> tuple[str, ...]:
        """What some rows are of: clips, each once, and the rows that name none."""
        named = (self.clip_ids[row] or self.names[row] for row in rows)
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class Side:
    """On which side of one fold the rows are."""

    protocol: str
    fold: int
    parts: npt.NDArray[np.str_]
    """(rows,) ``train``, ``validation``, ``test``, or empty for rows that have no place in it."""


def read_features(
    path: Path, clips: Sequence[Clip], names: ClipNames, columns: Mapping[str, str]
) -> FeatureTable:
    """Reads CSV, TSV, JSON Lines or parquet.

    Args:
        path: one row per clip or more; all numeric columns without another meaning are features.
        clips: of the corpus.
        names: of its clips.
        columns: by field, from ``--map``.

    Raises:
        UserError: it can't be read, has no features, or names no clip of the corpus at all.
    """
    table, num_empty = _leave_out_empty(read_table(path), path)
    meaning = {field: find_column(table, field, columns) for field in ("emotion", "speaker")}
    split = {field: find_column(table, field, columns) for field in ("fold", "split")}
    if split["split"] and not are_parts(cells(table, split["split"])):
        split["split"] = None
    clip_column = find_clip_column(table, columns)
    if clip_column is None and not any(split.values()):
        raise UserError(
            f"--features {path}: expected a column clip_id or path, or split (train, validation, "
            f"test), got {', '.join(table.columns[:8])}: say which with --map clip_id=COLUMN"
        )
    written = cells(table, clip_column) if clip_column else [""] * len(table)
    found = [_find_row(names, name) for name in written]
    ids = tuple(one[0] if one else None for one in found)
    if not any(split.values()) and not any(ids):
        raise DataError(
            f"--features {path}: none of {len(ids)} rows names a clip of the corpus, first "
            f"{written[0]!r}: name clips by clip_id or by path"
        )
    skipped = {clip_column, *meaning.values(), *split.values()} - {None}
    columns_of, num_dropped = _read_values(table, {str(name) for name in skipped}, path)
    by_id = {clip.clip_id: clip for clip in clips}
    dealt = [cells(table, column) if column else None for column in split.values()]
    return FeatureTable(
        np.stack(list(columns_of.values()), axis=1),
        tuple(columns_of),
        _name_rows(written),
        ids,
        _fill(table, meaning["emotion"], [by_id[i].emotion if i else None for i in ids]),
        _fill(table, meaning["speaker"], [by_id[i].speaker if i else None for i in ids]),
        Dealing.of_columns(*dealt).places(path) if any(split.values()) else {},
        num_dropped,
        num_empty,
    )


def _find_row(names: ClipNames, written: str) -> tuple[str, ...] | None:
    """The clip that a row is of: as it is named, or as the name of a frame starts."""
    if not written:
        return None
    found = names.find(written)
    frame = _FRAME.fullmatch(written) if found is None else None
    return names.find(frame["clip"]) if frame else found


def find_sides(table: FeatureTable, protocols: Sequence[Folds]) -> list[Side]:
    """The table's own split, else where the folds put the clips of its rows.

    A row that names no clip of the corpus is made up, and what is made up is learnt from.
    """
    if table.own_rows:
        return [_own_side(table, fold) for fold in table.own_rows]
    sides = []
    for folds in protocols:
        for fold in folds.folds:
            part_of = {clip_id: part for part in PARTS for clip_id in getattr(fold, part)}
            parts = [part_of.get(i, "") if i is not None else "train" for i in table.clip_ids]
            sides.append(Side(folds.protocol, fold.number, np.array(parts)))
    return sides


def find_own_folds(table: FeatureTable) -> list[Folds]:
    """The table's own split as one of clips; none if it has none, or but one part of clips.

    A clip with rows in several parts is told of as such, and here it is in the first of them only.
    """
    folds = []
    for number, rows in table.own_rows.items():
        ids: dict[str, tuple[str, ...]] = {}
        for part in PARTS:
            named = {clip_id for row in rows[part].tolist() if (clip_id := table.clip_ids[row])}
            ids[part] = tuple(sorted(named.difference(*ids.values())))
        if sum(map(bool, ids.values())) > 1:
            folds.append(Fold(number, ids["train"], ids["validation"], ids["test"]))
    return [Folds(OWN_SPLIT, (), tuple(folds))] if folds else []


def _own_side(table: FeatureTable, fold: int) -> Side:
    parts = np.full(len(table), "", dtype="<U10")
    for part, places in table.own_rows[fold].items():
        parts[places] = part
    return Side(OWN_SPLIT, fold, parts)


def _leave_out_empty(table: "pd.DataFrame", path: Path) -> tuple["pd.DataFrame", int]:
    """Without rows that lack most of the numbers that others have, and how many they are."""
    numbers = [column for name in table.columns if (column := _to_numbers(table[name])) is not None]
    if not numbers:
        return table, 0
    lacks = np.stack([~np.isfinite(column) for column in numbers], axis=1)
    lacks = lacks[:, lacks.mean(axis=0) < MOST_GAPS]
    empty = lacks.mean(axis=1) > MOST_GAPS if lacks.shape[1] else np.zeros(len(table), bool)
    return table[~empty].reset_index(drop=True), int(empty.sum())


def _to_numbers(column: "pd.Series") -> Floats | None:
    """(rows,) with NaN in gaps; None if it holds no numbers."""
    import pandas as pd

    numbers = pd.to_numeric(column.replace("", np.nan), errors="coerce")
    if numbers.isna().all() or column.dtype == bool:
        return None
    return numbers.to_numpy(np.float64)


def _can_be_computed_with(numbers: Floats) -> bool:
    """Squares and sums of squares neither overflow nor vanish."""
    if not np.isfinite(numbers).all() or np.abs(numbers).max() >= LARGEST:
        return False
    return bool(np.ptp(numbers) > 1 / LARGEST)


def _read_values(
    table: "pd.DataFrame", skipped: set[str], path: Path
) -> tuple[dict[str, Floats], int]:
    """(rows,) of each feature by its name, and how many have gaps."""
    columns: dict[str, Floats] = {}
    num_dropped = 0
    for name in table.columns:
        if name in skipped or name.lower() in NO_FEATURES or name.startswith("Unnamed: "):
            continue
        numbers = _to_numbers(table[name])
        if numbers is None or (numbers == numbers[0]).all():
            continue
        if _can_be_computed_with(numbers):
            columns[str(name)] = numbers
        else:
            num_dropped += 1
    if num_dropped and not columns:
        raise DataError(
            f"--features {path}: every feature has gaps, infinities, or numbers too large or too "
            "small to compute with: fill or leave out the rows that lack them"
        )
    if not columns:
        raise DataError(
            f"--features {path}: expected columns of numbers that differ from row to row, got none "
            f"among {', '.join(table.columns[:8])}"
        )
    return columns, num_dropped


def _name_rows(written: Sequence[str]) -> tuple[str, ...]:
    """The first row is row 1."""
    counts = Counter(written)
    return tuple(
        f"row {number}" if not name else name if counts[name] == 1 else f"{name} (row {number})"
        for number, name in enumerate(written, 1)
    )


def _fill(
    table: "pd.DataFrame", column: str | None, known: Sequence[str | None]
) -> tuple[str | None, ...]:
    """What the table says, else what the corpus knows."""
    if column is None:
        return tuple(known)
    said = cells(table, column)
    return tuple(one or other for one, other in zip(said, known, strict=True))
