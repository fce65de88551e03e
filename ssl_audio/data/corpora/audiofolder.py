"""A folder of audio files as the Hub knows it: class folders, or tables called ``metadata``."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path, PurePosixPath

from ssl_audio.data.audio import AUDIO_ENDINGS
from ssl_audio.data.corpora.base import Listing
from ssl_audio.data.corpora.csv import Rows, list_rows, read_rows
from ssl_audio.data.corpora.folder import SPLITS, Folder
from ssl_audio.data.corpora.tables import TABLES

METADATA = "metadata"
DATA_ENDINGS = frozenset((".parquet", ".arrow"))


def is_one(source: Path) -> bool:
    """Whether a folder holds audio files, and no data files that hold them."""
    if not source.is_dir():
        return False
    paths = [path for path in source.rglob("*") if path.is_file()]
    has_audio = any(path.suffix.lower() in AUDIO_ENDINGS for path in paths)
    data = [path for path in paths if path.suffix in DATA_ENDINGS and path.stem != METADATA]
    return has_audio and not data


def read(source: Path, columns: Mapping[str, str]) -> Listing:
    """Reads the tables if there are any, else the class folders.

    A column ``file_name`` holds paths from the table's own folder. Without a column for the split,
    a top folder called ``train``, ``test`` and the like names it.
    """
    tables = [
        path
        for path in sorted(source.rglob(f"{METADATA}.*"))
        if path.suffix.lower() in TABLES and path.is_file()
    ]
    if not tables:
        return Folder().read(source, columns)
    parts = [read_rows(table, source, columns) for table in tables]
    rows = Rows(
        tuple(_with_split(values) for part in parts for values in part.usable),
        tuple(chain.from_iterable(part.quarantined for part in parts)),
        tuple(dict.fromkeys(chain.from_iterable(part.notes for part in parts))),
    )
    return list_rows(source, rows)


def _with_split(values: Mapping[str, str]) -> Mapping[str, str]:
    top = PurePosixPath(values["path"]).parts[0].lower()
    return {**values, "split": top} if top in SPLITS and not values.get("split") else values
