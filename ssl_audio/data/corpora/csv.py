"""A table with one row per clip; audio paths are relative to the table's own folder."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ssl_audio.data.audio import AUDIO_ENDINGS
from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.files import (
    AudioFiles,
    below,
    choose_ids,
    existing,
    find_trouble_of,
)
from ssl_audio.data.corpora.tables import Row, open_table, to_text
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

USUAL_COLUMNS = {
    "path": ("path", "filename", "file", "file_name"),
    "emotion": ("emotion", "label"),
    "speaker": ("speaker",),
    "gender": ("gender",),
    "text": ("text",),
    "split": ("split",),
    "intensity": ("intensity",),
    "repetition": ("repetition",),
    "parent": ("parent",),
    "clip_id": ("clip_id",),
}
"""Where a field is looked for when ``--map`` does not say."""
_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}


class Csv(CorpusReader):
    """Columns path or filename, emotion or label, and any of speaker, gender, text, split, ...

    A file is named by the column clip_id, else by its path. Files beside those that the table names
    are set aside, unless they are the greater part: then the table is a selection.
    """

    name = "csv"
    fields = tuple(USUAL_COLUMNS)

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        table = existing(source, self.name)
        rows = read_rows(table, table.parent, columns)
        if not rows.usable and not rows.quarantined:
            raise DataError(f"{table}: expected a header and one row per clip, got no rows")
        return list_rows(table.parent, rows)


@dataclass(frozen=True)
class Rows:
    """What tables say of files."""

    usable: tuple[Mapping[str, str], ...]
    """Texts by field of Clip; every path is that of a file, below a root."""
    quarantined: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()


def read_rows(path: Path, root: Path, columns: Mapping[str, str]) -> Rows:
    """What one table says, and which files beside those that it names it does not.

    Args:
        path: of the table; the files that it names start from its own folder.
        root: what the paths of the result start from.
        columns: column names by field of Clip.

    Raises:
        UserError: no such columns.
        DataError: the table can't be read.
    """
    table = open_table(path)
    chosen = choose_columns(table.header, columns, str(path))
    if "path" not in chosen:
        raise UserError(_describe_missing_path(path, table.header))
    usable: list[Mapping[str, str]] = []
    quarantined: list[Quarantined] = []
    for row in table.read(tuple(chosen.values())):
        read = row if isinstance(row, Quarantined) else _read_row(row, chosen, path.parent, root)
        if isinstance(read, Quarantined):
            quarantined.append(read)
        else:
            usable.append(read)
    unnamed, notes = _find_unnamed(path, root, {values["path"] for values in usable})
    notes = (*note_missing(table.header, chosen), *notes)
    return Rows(tuple(usable), (*quarantined, *unnamed), notes)


def list_rows(root: Path, rows: Rows) -> Listing:
    """The clips that rows describe."""
    ids = choose_ids(dict.fromkeys(values["path"] for values in rows.usable))
    clips = tuple(to_clip(ids[values["path"]], values) for values in rows.usable)
    files = AudioFiles(root, ids)
    return Listing(clips, files.decode, rows.quarantined, rows.notes, files.stamp)


def choose_columns(
    header: Sequence[str], columns: Mapping[str, str], source: str
) -> dict[str, str]:
    """Column by field of Clip: as asked for, or else one of the usual names in any case.

    Raises:
        UserError: a column that was asked for is not there, or a chosen one is there twice.
    """
    if missing := [column for column in columns.values() if column not in header]:
        raise UserError(f"{source} has no column {missing[0]!r}, it has {', '.join(header)}")
    by_lower = {column.strip().lower(): column for column in reversed(header)}
    chosen = dict(columns)
    for field, names in USUAL_COLUMNS.items():
        for name in names:
            if name in by_lower:
                chosen.setdefault(field, by_lower[name])
    if twice := [column for column in chosen.values() if header.count(column) > 1]:
        raise UserError(f"{source} has several columns called {twice[0]!r}: rename all but one")
    return chosen


def to_clip(clip_id: str, values: Mapping[str, str]) -> Clip:
    """A clip from texts by field; empty ones are unknown, and so is any other gender.

    Args:
        clip_id: unless ``values`` names another one.
        values: with a path.
    """
    said = {**values, "gender": _GENDERS.get(values.get("gender", "").lower(), "")}
    known: dict[str, Any] = {field: text for field, text in said.items() if text}
    return Clip(**{"clip_id": clip_id, **known})


def note_missing(header: Sequence[str], chosen: Mapping[str, str]) -> tuple[str, ...]:
    """On columns without which there are no labels, or no speakers to keep apart."""
    return tuple(
        f"{field} unknown: no column {_usual(field)} among {', '.join(header)}; "
        f"if it has another name, say --map {field}=COLUMN"
        for field in ("emotion", "speaker")
        if field not in chosen
    )


def _describe_missing_path(table: Path, header: Sequence[str]) -> str:
    return (
        f"{table}: expected a column {_usual('path')}, got {', '.join(header) or 'no columns'}: "
        f"say which one it is with --map path=COLUMN (and with --map emotion=COLUMN the label, if "
        f"it is not called {_usual('emotion')}; likewise speaker, gender, text, split)"
    )


def _usual(field: str) -> str:
    return " or ".join(USUAL_COLUMNS[field])


def _read_row(
    row: Row, chosen: Mapping[str, str], folder: Path, root: Path
) -> Mapping[str, str] | Quarantined:
    try:
        values = {field: to_text(row.cells.get(name)) for field, name in chosen.items()}
    except DataError as error:
        return Quarantined(row.place, str(error))
    if not values["path"]:
        return Quarantined(row.place, "names no file")
    path = below(root, str(folder / values["path"]))
    trouble = find_trouble_of(root / path)
    return Quarantined(path, trouble) if trouble else {**values, "path": path}


def _find_unnamed(
    table: Path, root: Path, named: Set[str]
) -> tuple[list[Quarantined], tuple[str, ...]]:
    """Audio in the folders of the table's files that no row names."""
    folders = {PurePosixPath(path).parent for path in named}
    present = {
        (folder / name).as_posix()
        for folder in folders
        for name in _list_names(root / folder)
        if PurePosixPath(name).suffix.lower() in AUDIO_ENDINGS and not name.startswith(".")
    }
    unnamed = sorted(present - named)
    if len(unnamed) > len(named):
        beside = f"{len(unnamed)} audio files beside those that it names are passed over"
        return [], (f"{table.name} is a selection: {beside}",)
    return [Quarantined(path, f"in no row of {table.name}") for path in unnamed], ()


def _list_names(folder: Path) -> list[str]:
    """Empty for a folder whose files may be read but not listed."""
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
