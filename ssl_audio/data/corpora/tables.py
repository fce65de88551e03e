"""Tables as files: CSV, TSV, JSON Lines and parquet, told apart by their ending."""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ssl_audio.data.corpora.base import Quarantined
from ssl_audio.errors import DataError, UserError

_DELIMITERS = ",;\t|"
"""Of a CSV file, in the order of their likelihood; spreadsheets of many countries write ``;``."""
_HEADER_CHARACTERS = 10_000
_MARKS_OF_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    place: str
    """For messages, e.g. ``t.csv, line 7``."""
    cells: Mapping[str, object]
    """By column; a missing one is unknown."""


class Table(ABC):
    """A table whose columns have names."""

    header: tuple[str, ...]

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Args:
            path: with the ending of this kind of table.

        Raises:
            DataError: it can't be read.
        """
        self.path = path

    @abstractmethod
    def read(self, columns: Sequence[str]) -> Iterator[Row | Quarantined]:
        """The rows, with at least these columns, and what of the file is no row.

        Raises:
            DataError: it can't be read.
        """


class CsvTable(Table):
    """A header and one row per line, separated by comma, semicolon, tab or bar; as UTF-8 or 16."""

    def __init__(self, path: Path) -> None:
        """See Table."""
        super().__init__(path)
        try:
            content = path.read_bytes()
            encoding = "utf-16" if content.startswith(_MARKS_OF_UTF_16) else "utf-8-sig"
            self._text = content.decode(encoding)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} can't be read as CSV in UTF-8: {error}") from None
        first = self._text[:_HEADER_CHARACTERS].partition("\n")[0]
        # Of equal counts max takes the first.
        self._delimiter = max(_DELIMITERS, key=first.count)
        self.header = tuple(next(self._parse(), (0, []))[1])

    def read(self, columns: Sequence[str]) -> Iterator[Row | Quarantined]:
        """See Table."""
        rows = self._parse()
        next(rows, None)
        for line, cells in rows:
            place = f"{self.path.name}, line {line}"
            if any(cell.strip() for cell in cells[len(self.header) :]):
                reason = f"expected {len(self.header)} cells, got {len(cells)}: quote its commas"
                yield Quarantined(place, reason)
            elif cells:
                yield Row(place, dict(zip(self.header, cells, strict=False)))

    def _parse(self) -> Iterator[tuple[int, list[str]]]:
        """Number of the last line, and cells, of each row."""
        # Strict: a quote that is never closed would swallow the rest of the table.
        lines = io.StringIO(self._text, newline="")
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        start = 1
        try:
            for cells in reader:
                yield reader.line_num, cells
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{self.path} can't be read as CSV: {error} in the row that starts on line "
                f"{start}: close the quote that opens there, or double it"
            ) from None


class JsonLinesTable(Table):
    """One JSON object per line; the columns are all keys that there are."""

    def __init__(self, path: Path) -> None:
        """See Table."""
        super().__init__(path)
        self._rows: list[Row | Quarantined] = []
        header: dict[str, None] = {}
        try:
            with path.open(encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        row = _parse_object(f"{path.name}, line {number}", line)
                        self._rows.append(row)
                        header |= dict.fromkeys(row.cells) if isinstance(row, Row) else {}
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} can't be read as JSON Lines in UTF-8: {error}") from None
        self.header = tuple(header)

    def read(self, columns: Sequence[str]) -> Iterator[Row | Quarantined]:
        """See Table."""
        yield from self._rows


class ParquetTable(Table):
    """Of a parquet file only the columns that are asked for are read."""

    def __init__(self, path: Path) -> None:
        """See Table."""
        super().__init__(path)
        try:
            self.header = tuple(pq.read_schema(path).names)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} can't be read as parquet: {error}") from None

    def read(self, columns: Sequence[str]) -> Iterator[Row | Quarantined]:
        """See Table."""
        try:
            rows = pq.read_table(self.path, columns=list(columns)).to_pylist()
        except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
            raise DataError(f"{self.path} can't be read as parquet: {error}") from None
        for number, cells in enumerate(rows, 1):
            yield Row(f"{self.path.name}, row {number}", cells)


TABLES: Mapping[str, type[Table]] = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), CsvTable),
    **dict.fromkeys((".jsonl", ".ndjson"), JsonLinesTable),
    **dict.fromkeys((".parquet", ".pq"), ParquetTable),
}
"""Kinds of table by ending."""


def open_table(path: Path) -> Table:
    """A table of the kind that its ending says.

    Raises:
        UserError: another ending.
        DataError: it can't be read.
    """
    kind = TABLES.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path}: expected a table ending in {', '.join(TABLES)}")
    return kind(path)


def to_text(cell: object) -> str:
    """What a cell says, stripped; empty where that is unknown.

    >>> to_text(" sad "), to_text(3.0), to_text(None), to_text(float("nan"))
    ('sad', '3', '', '')

    Raises:
        DataError: it holds no text, number or date.
    """
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, list | dict | bytes):
        raise DataError(f"expected text or a number, got a {type(cell).__name__}")
    # Whole numbers become floats in a column that lacks some.
    is_whole = isinstance(cell, float) and cell.is_integer()
    text = f"{cell:.0f}" if is_whole else str(cell).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError("its text is not Unicode (half a surrogate pair)") from None
    return text


def _parse_object(place: str, line: str) -> Row | Quarantined:
    try:
        cells = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Quarantined(place, f"is not JSON: {error}")
    if not isinstance(cells, dict):
        return Quarantined(place, f"expected a JSON object, got a {type(cells).__name__}")
    return Row(place, cells)
