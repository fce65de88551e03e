"""Other people's lists and tables: which column says what."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_audio.data.corpora.base import Quarantined
from ssl_audio.data.corpora.tables import Row, open_table, to_text
from ssl_audio.errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

CLIP_COLUMNS = ("clip_id", "path", "filename", "file_name", "file", "wav", "name")
"""Which clip a row is about."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "fold": ("fold",),
    "split": ("part", "split", "partition", "subset", "set"),
    "emotion": ("emotion", "label"),
    "speaker": ("speaker", "speaker_id", "actor"),
}
"""Where a field is looked for when ``--map`` does not say, in any case."""
_FOLD_COLUMN = re.compile(r"(?:fold|split|cv|run)[ _-]?(\d+)", re.IGNORECASE)


def read_table(path: Path) -> "pd.DataFrame":
    """Every row; cells of text files are strings, empty where there is nothing.

    Raises:
        UserError: another ending, not readable as what its ending says, a broken row, or no rows.
    """
    import pandas as pd

    table = open_table(path)
    rows = list(table.read(table.header))
    if broken := [row for row in rows if isinstance(row, Quarantined)]:
        raise DataError(f"{path}: {broken[0].path}: {broken[0].reason}")
    if not rows:
        raise DataError(f"{path}: expected a header and at least one row, got no rows")
    cells = [row.cells for row in rows if isinstance(row, Row)]
    return pd.DataFrame({name: [row.get(name) for row in cells] for name in table.header})


def find_column(table: "pd.DataFrame", field: str, columns: Mapping[str, str]) -> str | None:
    """The column of a field: the one that ``--map`` names, else a usual one; None if neither."""
    if columns.get(field) in table.columns:
        return columns[field]
    by_lower = {column.lower(): column for column in reversed(table.columns)}
    return next((by_lower[name] for name in COLUMNS[field] if name in by_lower), None)


def find_fold_columns(table: "pd.DataFrame", path: Path) -> dict[str, str]:
    """Columns called ``fold1``, ``fold_2`` and the like, by their numbers.

    Raises:
        DataError: two of one number.
    """
    found: dict[str, str] = {}
    for column in map(str, table.columns):
        if match := _FOLD_COLUMN.fullmatch(column):
            number = match[1].lstrip("0") or "0"
            if number in found:
                raise DataError(
                    f"{path}: expected one column for fold {number}, got {found[number]} and "
                    f"{column}: leave one of them out"
                )
            found[number] = column
    return found


def find_clip_column(table: "pd.DataFrame", columns: Mapping[str, str]) -> str | None:
    """The column that names clips, by id or by path; None if there is none."""
    for field in ("clip_id", "path"):
        if columns.get(field) in table.columns:
            return columns[field]
    by_lower = {column.lower(): column for column in reversed(table.columns)}
    return next((by_lower[name] for name in CLIP_COLUMNS if name in by_lower), None)


def read_names(path: Path, columns: Mapping[str, str]) -> list[str]:
    """The clips that a list names, in its order: a ``.txt`` with one a line, or a table.

    Raises:
        DataError: it can't be read, or no column names clips.
    """
    if path.suffix.lower() != ".txt":
        table = read_table(path)
        return cells(table, needed_clip_column(table, path, columns))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"list {path} can't be read: {told}") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"list {path}: expected one clip a line, got none")
    return names


def needed_clip_column(table: "pd.DataFrame", path: Path, columns: Mapping[str, str]) -> str:
    """As ``find_clip_column``.

    Raises:
        UserError: there is none.
    """
    column = find_clip_column(table, columns)
    if column is None:
        raise UserError(
            f"{path}: expected a column {' or '.join(CLIP_COLUMNS)}, got "
            f"{', '.join(table.columns[:8])}: say which one names clips with --map clip_id=COLUMN"
        )
    return column


def cells(table: "pd.DataFrame", column: str) -> list[str]:
    """A column as stripped strings; missing ones are empty."""
    return [to_text(value) for value in table[column].tolist()]
