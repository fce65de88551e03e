"""Shapes that folds are passed around in: tables, JSON, a folder of lists. All become rows."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_audio.audit.dealt_rows import Dealing
from ssl_audio.audit.fold_folder import FoundList, find_lists, refuse_doubles
from ssl_audio.audit.part_names import PART_OF_NAME
from ssl_audio.audit.tables import (
    CLIP_COLUMNS,
    cells,
    find_clip_column,
    find_column,
    find_fold_columns,
    needed_clip_column,
    read_names,
    read_table,
)
from ssl_audio.data.corpora.tables import TABLES
from ssl_audio.errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

SHAPES = (
    "a table with a column fold or split (train, validation, test) or columns fold1, fold2, ...; "
    'JSON {"train": [...], "test": [...]} or one such per fold; a folder of train and test lists'
)
"""For messages."""
WRAPPERS = frozenset(("folds", "splits"))
_TRUTHS = {"true": "1", "false": "0"}


@dataclass(frozen=True)
class FoldRows:
    """Clips and where they are put; a clip may have a row in each fold."""

    names: tuple[str, ...]
    dealing: Dealing
    protocol: str
    """What the folds are called."""


def read_fold_rows(path: Path, columns: Mapping[str, str]) -> FoldRows:
    """Reads any of the shapes.

    Args:
        path: a file or a folder.
        columns: of tables, by field.

    Raises:
        UserError: another shape, or one that can't be read.
    """
    if path.is_dir():
        return _read_folder(path, columns)
    if path.suffix.lower() == ".json":
        return _read_json(path)
    if path.suffix.lower() not in TABLES:
        endings = ", ".join((*TABLES, ".json"))
        raise UserError(f"{path}: expected {SHAPES}, ending in {endings}")
    table = read_table(path)
    names = cells(table, needed_clip_column(table, path, columns))
    protocol = cells(table, "protocol")[0] if "protocol" in table.columns else path.stem
    fold_column = find_column(table, "fold", columns)
    part_column = find_column(table, "split", columns)
    if fold_column is None and part_column is None:
        return _read_wide(table, names, path)
    folds = cells(table, fold_column) if fold_column else None
    parts = cells(table, part_column) if part_column else None
    return FoldRows(tuple(names), Dealing.of_columns(folds, parts), protocol)


def _read_wide(table: "pd.DataFrame", names: list[str], path: Path) -> FoldRows:
    """One column per fold, which holds parts, or 1 or True where the clip is tested (or not)."""
    columns = find_fold_columns(table, path)
    by_fold = {fold: cells(table, column) for fold, column in columns.items()}
    if not by_fold:
        raise UserError(
            f"{path}: expected {SHAPES}, got a table with {', '.join(table.columns[:8])}: say "
            "which column with --map fold=COLUMN or split=COLUMN"
        )
    marks = {
        fold: [_TRUTHS.get(cell.lower(), cell) for cell in column]
        for fold, column in by_fold.items()
    }
    if {cell for column in marks.values() for cell in column} <= {"0", "1"}:
        by_fold = _mark_test(marks, path)
    return FoldRows(
        tuple(names) * len(by_fold),
        Dealing(
            [fold for fold in by_fold for _ in names],
            [part for column in by_fold.values() for part in column],
        ),
        path.stem,
    )


def _mark_test(by_fold: Mapping[str, list[str]], path: Path) -> dict[str, list[str]]:
    """Whichever of 0 and 1 each clip has once is where it is tested."""
    rows = list(zip(*by_fold.values(), strict=True))
    for mark in ("1", "0"):
        if all(row.count(mark) == 1 for row in rows):
            return {
                fold: ["test" if cell == mark else "train" for cell in column]
                for fold, column in by_fold.items()
            }
    raise DataError(
        f"{path}: expected one 1 per clip in its columns of folds, where the clip is tested, got "
        "another number: write train and test instead"
    )


def _read_json(path: Path) -> FoldRows:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} can't be read as JSON: {error}") from None
    content = _unwrap(content)
    folds = _find_folds(content)
    if not folds:
        raise DataError(f"{path}: expected {SHAPES}, got {_tell(content)}")
    for fold, lists in folds.items():
        if not any(lists.values()):
            raise DataError(f"{path}: expected clips in every fold, got none in fold {fold!r}")
    rows = [
        (name, fold, part)
        for fold, parts in folds.items()
        for part, items in parts.items()
        for name in _names_of(items, path)
    ]
    names, of_fold, of_part = zip(*rows, strict=True)
    parts = of_part if any(of_part) else None
    return FoldRows(names, Dealing(of_fold, parts), path.stem)


def _unwrap(content: Any) -> Any:
    """The folds of ``{"seed": 1, "folds": [...]}``; all else as it is."""
    if not isinstance(content, dict):
        return content
    lists = [name for name, value in content.items() if isinstance(value, list | dict)]
    return content[lists[0]] if len(lists) == 1 and lists[0] in WRAPPERS else content


def _find_folds(content: Any) -> dict[str, dict[str, Any]]:
    """Lists by fold and part, of which "" is the fold's own; empty if it is no such thing."""
    if isinstance(content, dict) and _are_part_lists(content):
        return {"1": content}
    if isinstance(content, list):
        content = {str(number): fold for number, fold in enumerate(content, 1)}
    if not isinstance(content, dict):
        return {}
    if all(isinstance(fold, dict) and _are_part_lists(fold) for fold in content.values()):
        return content
    if all(isinstance(fold, list) for fold in content.values()):
        return {name: {"": fold} for name, fold in content.items()}
    return {}


def _are_part_lists(content: dict[str, Any]) -> bool:
    named = all(name.lower() in PART_OF_NAME for name in content)
    return bool(content) and named and all(isinstance(items, list) for items in content.values())


def _names_of(items: Iterable[Any], path: Path) -> list[str]:
    """Clips as they are, or as objects say by one of the usual keys."""
    names = []
    for item in items:
        name = item
        if isinstance(item, dict):
            name = next((item[key] for key in CLIP_COLUMNS if key in item), None)
        if not isinstance(name, str) or not name.strip():
            raise DataError(
                f"{path}: expected names of clips, or objects with {' or '.join(CLIP_COLUMNS)}, "
                f"got {json.dumps(item)[:60]}"
            )
        names.append(name.strip())
    return names


def _tell(content: Any) -> str:
    return f"{type(content).__name__} {json.dumps(content)[:60]}"


def _read_folder(path: Path, columns: Mapping[str, str]) -> FoldRows:
    """Lists of parts whose names tell fold and part, else one table or list per fold."""
    rows: list[tuple[str, str, str]] = []
    read: list[FoundList] = []
    for found in find_lists(path):
        if found.part:
            told = [(name, found.part) for name in read_names(found.path, columns)]
        else:
            told = _read_one(found.path, columns)
        rows += [(name, found.fold, part) for name, part in told]
        read += [found] if told else []
    refuse_doubles(read)
    if not rows:
        raise DataError(f"{path}: expected {SHAPES}, got a folder without such lists")
    names, folds, parts = zip(*rows, strict=True)
    return FoldRows(names, Dealing(folds, parts if any(parts) else None), path.name)


def _read_one(path: Path, columns: Mapping[str, str]) -> list[tuple[str, str]]:
    """Clips of one fold, with their parts where a table tells them."""
    if path.suffix.lower() == ".txt":
        return [(name, "") for name in read_names(path, columns)]
    table = read_table(path)
    if find_clip_column(table, columns) is None:
        return []  # something else that lies there
    names = cells(table, needed_clip_column(table, path, columns))
    column = find_column(table, "split", columns)
    return list(zip(names, cells(table, column) if column else [""] * len(names), strict=True))
