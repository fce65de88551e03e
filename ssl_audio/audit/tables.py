"""Other people's tables and lists, by their ending: CSV, TSV, JSON Lines, parquet, plain text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_audio.errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
CLIP_COLUMNS = ("clip_id", "path", "filename", "file", "name")
"""Which clip a row is about."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "fold": ("fold",),
    "split": ("part", "split", "partition", "subset", "set"),
    "emotion": ("emotion", "label"),
    "speaker": ("speaker", "speaker_id", "actor"),
}
"""Where a field is looked for when ``--map`` does not say, in any case."""


def read_table(path: Path) -> "pd.DataFrame":
    """Every row; cells of text files are strings, empty where there is nothing.

    Raises:
        DataError: no such file, another ending, not readable as what its ending says, or no rows.
    """
    import pandas as pd

    text = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    ending = path.suffix.lower()
    try:
        if ending in (".csv", ".tsv"):
            table = pd.read_csv(path, sep="\t" if ending == ".tsv" else ",", **text)
        elif ending == ".jsonl":
            table = pd.read_json(path, lines=True, dtype=False)
        elif ending == ".parquet":
            table = pd.read_parquet(path)
        else:
            raise DataError(f"{path}: expected a table ({', '.join(ENDINGS)}), got another ending")
    except DataError:
        raise
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path} can't be read as {ending[1:]}: {told}") from None
    if table.empty:
        raise DataError(f"{path}: expected a header and at least one row, got no rows")
    return table.rename(columns=str)


def find_column(table: "pd.DataFrame", field: str, columns: Mapping[str, str]) -> str | None:
    """The column of a field: the one that ``--map`` names, else a usual one; None if neither."""
    if columns.get(field) in table.columns:
        return columns[field]
    by_lower = {column.lower(): column for column in reversed(table.columns)}
    return next((by_lower[name] for name in COLUMNS[field] if name in by_lower), None)


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
    values: Sequence[object] = table[column].tolist()
    return ["" if value is None or value != value else str(value).strip() for value in values]
