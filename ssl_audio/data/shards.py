"""Arrow shards of int16 audio: written row by row, memory-mapped to be read.

A shard is an Arrow IPC stream with one row per clip in a batch of its own: an id and its samples.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_audio.errors import DataError

Int16 = npt.NDArray[np.int16]

SCHEMA = pa.schema([("clip_id", pa.string()), ("audio", pa.list_(pa.int16()))])


class ShardWriter:
    """Writes one shard; what was added after a place can be taken back."""

    def __init__(self, path: Path) -> None:
        """Makes the file, or empties it.

        Args:
            path: of the shard.
        """
        self._file = path.open("wb", buffering=2**20)
        self._sink = pa.ipc.new_stream(self._file, SCHEMA)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            self._sink.close()

    def add(self, clip_id: str, audio: Int16) -> None:
        """Adds a clip: (samples,) int16."""
        offsets = pa.array([0, len(audio)], pa.int32())
        column = pa.ListArray.from_arrays(offsets, pa.array(audio, pa.int16()))
        self._sink.write_batch(pa.record_batch([pa.array([clip_id]), column], schema=SCHEMA))

    def place(self) -> int:
        """Where the file ends now, for ``go_back``."""
        return self._file.tell()

    def go_back(self, place: int) -> None:
        """Takes back whatever was added since: batches of a stream know nothing of each other."""
        self._file.truncate(place)
        self._file.seek(place)
        if place == 0:  # The schema comes with the first batch.
            self._sink = pa.ipc.new_stream(self._file, SCHEMA)


def open_shard(path: Path) -> list[tuple[str, Int16]]:
    """Clip ids and audio of a shard, zero-copy into a memory map.

    Raises:
        DataError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        rows = [row for batch in pa.ipc.open_stream(pa.py_buffer(mapped)) for row in rows_of(batch)]
        # Finding the rows has touched pages all over the file, and the system maps their neighbours
        # too: without this, an open corpus of 200 h would be resident with more than a gigabyte.
        mapped.madvise(mmap.MADV_DONTNEED)
        return rows
    except (OSError, ValueError) as error:
        raise DataError(f"shard {path} can't be read: {error}; prepare the corpus again") from None


def rows_of(batch: pa.RecordBatch) -> Iterator[tuple[str, Int16]]:
    """Clip ids and (samples,) int16 audio of a batch, zero-copy."""
    audio = batch.column("audio")
    values = audio.values.to_numpy(zero_copy_only=True)
    offsets = audio.offsets.to_numpy()
    for row, clip_id in enumerate(batch.column("clip_id").to_pylist()):
        yield clip_id, values[offsets[row] : offsets[row + 1]]
