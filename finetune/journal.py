"""What an interrupted prediction has answered already, a line of JSON for each file.

The first line says what the answers depend on beside the files. A line is believed if it is whole:
it does not matter what was on its way to the disk when the work ended.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from finetune.inputs import AudioInput
from ssl_audio.errors import UserError

Key = tuple[str, str, int, int]


@dataclass(frozen=True)
class Answered:
    """What came of one file.

    Attributes:
        file: that was asked about.
        rows: cells of its rows in the output.
        error: why it could not be read; empty if it could.
    """

    file: AudioInput
    rows: list[list[str]]
    error: str = ""


class Journal:
    """Answers on disk, in any order; only their places are held in memory."""

    def __init__(self, file: IO[bytes], about: Mapping[str, Any]) -> None:
        """Takes over the answers that are there if they depend on the same; else removes them.

        Files that could not be read are forgotten: something may have been done about it.

        Args:
            file: open for reading and appending, used by nobody else.
            about: what the answers depend on, the same after a way through JSON.
        """
        self._file = file
        self._places: dict[Key, int] = {}
        file.seek(0)
        if _parse(file.readline()) != about:
            file.truncate(0)
            file.write(json.dumps(about).encode() + b"\n")
        end = file.tell()
        while found := _parse(line := file.readline()):
            if not found["error"]:
                self._places[_to_key(found["key"])] = end
            end += len(line)
        file.truncate(end)
        file.flush()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, file: AudioInput) -> bool:
        return _key(file) in self._places

    def add(self, answers: Sequence[Answered]) -> None:
        """Writes the answers and hands them to the system: only a power cut can lose them."""
        place = self._file.seek(0, 2)
        lines = []
        for answer in answers:
            key = _key(answer.file)
            fields = {"key": key, "error": answer.error, "rows": answer.rows}
            lines.append(json.dumps(fields).encode() + b"\n")
            self._places[key] = place
            place += len(lines[-1])
        self._file.write(b"".join(lines))
        self._file.flush()

    def read(self, file: AudioInput) -> Answered:
        """What came of a file that is in the journal."""
        self._file.seek(self._places[_key(file)])
        found = json.loads(self._file.readline())
        return Answered(file, found["rows"], found["error"])


@contextmanager
def open_journal(output: Path, about: Mapping[str, Any]) -> Iterator[Journal]:
    """``.NAME.partial`` beside the output, for one process at a time; see ``Journal``.

    It outlives a failure as long as there are answers in it, for the next run to go on with.

    Raises:
        UserError: another process is at it.
    """
    path = output.with_name(f".{output.name}.partial")
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{output} is being written by another process: wait for it, or choose another "
                "--output"
            ) from None
        journal = Journal(file, about)
        try:
            yield journal
        except BaseException:
            if not len(journal):
                path.unlink()
            raise
        path.unlink()


def _parse(line: bytes) -> Any:
    """What a line says; None if it is not whole."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _key(file: AudioInput) -> Key:
    """Of a file that changes, another one from then on."""
    return file.place, file.name, file.num_bytes, file.changed_ns


def _to_key(found: Sequence[Any]) -> Key:
    place, name, size, change = found
    return place, name, size, change
