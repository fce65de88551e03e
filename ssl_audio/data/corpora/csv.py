"""A CSV file with one row per clip; audio paths are relative to the file's own folder."""

import csv
from collections.abc import Mapping
from pathlib import Path

from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.files import AudioFiles, below, existing, without_ending
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

USUAL_COLUMNS = {
    "path": ("path", "filename", "file"),
    "emotion": ("emotion", "label"),
    "speaker": ("speaker",),
    "gender": ("gender",),
    "text": ("text",),
    "split": ("split",),
}
"""Where a field is looked for when ``--map`` does not say."""
_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}


class Csv(CorpusReader):
    """Columns path or filename, emotion or label, and optionally speaker, gender, text, split."""

    name = "csv"
    fields = tuple(USUAL_COLUMNS)

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        table = existing(source, self.name)
        header, rows = _read_rows(table)
        chosen = choose_columns(header, columns, table)
        clips, quarantined = [], []
        for line, row in enumerate(rows, 2):
            values = {field: (row[column] or "").strip() for field, column in chosen.items()}
            path = below(table.parent, values["path"])
            if not values.pop("path"):
                quarantined.append(Quarantined(f"{table.name}, line {line}", "names no file"))
            elif not (table.parent / path).is_file():
                quarantined.append(Quarantined(path, "no such file"))
            else:
                clips.append(_to_clip(path, values))
        files = AudioFiles(table.parent, (clip.path for clip in clips))
        notes = _note_missing(header, chosen)
        return Listing(tuple(clips), files.decode, tuple(quarantined), notes, files.stamp)


def choose_columns(header: list[str], columns: Mapping[str, str], table: Path) -> dict[str, str]:
    """Column by field of Clip: as asked for, or else one of the usual names in any case.

    Raises:
        UserError: a column that was asked for is not there, or none names the audio.
    """
    if missing := [column for column in columns.values() if column not in header]:
        raise UserError(f"{table} has no column {missing[0]!r}, it has {', '.join(header)}")
    by_lower = {column.lower(): column for column in reversed(header)}
    chosen = dict(columns)
    for field, names in USUAL_COLUMNS.items():
        for name in names:
            if name in by_lower:
                chosen.setdefault(field, by_lower[name])
    if "path" not in chosen:
        raise UserError(
            f"{table}: expected a column {_usual('path')}, got {', '.join(header)}: say which one "
            f"it is with --map path=COLUMN (and with --map emotion=COLUMN the label, if it is not "
            f"called {_usual('emotion')}; likewise speaker, gender, text, split)"
        )
    return chosen


def _note_missing(header: list[str], chosen: Mapping[str, str]) -> tuple[str, ...]:
    """On columns without which there are no labels, or no speakers to keep apart."""
    return tuple(
        f"{field} unknown: no column {_usual(field)} among {', '.join(header)}; "
        f"if it has another name, say --map {field}=COLUMN"
        for field in ("emotion", "speaker")
        if field not in chosen
    )


def _usual(field: str) -> str:
    return " or ".join(USUAL_COLUMNS[field])


def _read_rows(table: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} can't be read as CSV in UTF-8: {error}") from None
    if not rows:
        raise DataError(f"{table}: expected a header and one row per clip, got no rows")
    return list(reader.fieldnames or ()), rows


def _to_clip(path: str, values: Mapping[str, str]) -> Clip:
    """Empty cells are unknown, and so is a gender that is neither."""
    return Clip(
        clip_id=without_ending(path),
        path=path,
        speaker=values.get("speaker") or None,
        gender=_GENDERS.get(values.get("gender", "").lower()),
        emotion=values.get("emotion") or None,
        text=values.get("text") or None,
        split=values.get("split") or None,
    )
