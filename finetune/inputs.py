"""Which audio files are meant: files, folders of them, and lists like a competition's test.csv."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ssl_audio.data.corpora.base import Quarantined
from ssl_audio.data.corpora.files import AudioFiles, find_trouble_of
from ssl_audio.data.corpora.hackerearth import SPLITS, TABLES
from ssl_audio.data.corpora.tables import CsvTable, to_text
from ssl_audio.errors import DataError, UserError

LIST_ENDINGS = (".csv", ".tsv")
"""Of files that are lists of files."""


@dataclass(frozen=True)
class AudioInput:
    """One file that an answer is wanted for.

    Attributes:
        path: to open it by.
        place: how tables and messages call it: its path as it was given.
        name: its path below the folder that was given, or as the list has it.
        trouble: why it can't be read, if that is known already.
        num_bytes: size of the file, 0 if unknown.
        changed_ns: when it was changed last, 0 if unknown.
    """

    path: Path
    place: str
    name: str
    trouble: str | None
    num_bytes: int
    changed_ns: int


def find_inputs(given: Sequence[Path]) -> tuple[list[AudioInput], list[str]]:
    """Every file that is meant, those of a folder by their paths, those of a list in its order.

    Folders are searched for names that end as audio does; a file that is given itself, or in the
    column ``filename`` of a list, is taken whatever it is called.

    Args:
        given: files, folders and lists.

    Returns:
        The files, each once but for the rows of lists, and notes on what was passed over.

    Raises:
        UserError: no such file or folder, a list without the column, or no audio at all.
    """
    found: list[AudioInput] = []
    notes: list[str] = []
    places: Counter[Path] = Counter()

    def is_new(file: AudioInput) -> bool:
        places[file.path.absolute()] += 1
        return places[file.path.absolute()] == 1

    for path in given:
        if path.is_dir():
            audio = AudioFiles.in_folder(path)
            found += filter(is_new, _in_folder(path, audio))
            notes += audio.notes
        elif trouble := find_trouble_of(path):
            raise UserError(f"{path}: {trouble if path.exists() else 'no such file or folder'}")
        elif path.suffix.lower() in LIST_ENDINGS:
            found += _in_list(path)
        else:
            found += filter(is_new, [_look_at(path, str(path), path.name)])
    if num_again := sum(times > 1 for times in places.values()):
        again = "file was" if num_again == 1 else "files were"
        notes.append(f"{num_again} {again} given more than once: one answer each")
    if not found:
        passed_over = f" ({'; '.join(notes)})" if notes else ""
        raise UserError(f"no audio files in {', '.join(map(str, given))}{passed_over}")
    return found, notes


def _in_folder(root: Path, audio: AudioFiles) -> list[AudioInput]:
    troubles = {item.path: item.reason for item in audio.quarantined}
    return [
        _look_at(root / name, str(root / name), name, troubles.get(name))
        for name in sorted({*audio.paths, *troubles})
    ]


def _in_list(path: Path) -> Iterator[AudioInput]:
    """Files are looked for beside the list, and where the competition has those of this list."""
    table = CsvTable(path)
    if "filename" not in table.header:
        came = ", ".join(table.header) or "an empty file"
        raise DataError(f"{path}: expected a column filename, got {came}")
    folders = [path.parent]
    folders += [path.parent / name for name, split in SPLITS.items() if TABLES[split] == path.name]
    for row in table.read(("filename",)):
        if isinstance(row, Quarantined):
            yield _look_at(path, row.path, row.path, row.reason)
        elif name := to_text(row.cells["filename"]):
            places = [folder / name for folder in folders]
            file = next((place for place in places if place.exists()), places[0])
            yield _look_at(file, str(file), name, find_trouble_of(file))
        else:
            yield _look_at(path, row.place, row.place, "names no file")


def _look_at(path: Path, place: str, name: str, trouble: str | None = None) -> AudioInput:
    num_bytes = changed_ns = 0
    with suppress(OSError, ValueError):
        status = path.stat()
        num_bytes, changed_ns = status.st_size, status.st_mtime_ns
    return AudioInput(path, _printable(place), _printable(name), trouble, num_bytes, changed_ns)


def _printable(text: str) -> str:
    """Undecodable bytes of a file's name as escapes."""
    return text.encode(errors="backslashreplace").decode()
