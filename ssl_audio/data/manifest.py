"""Clip and the manifest: the one schema of a corpus."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ssl_audio.errors import DataError

SAMPLE_RATE = 16_000
"""Hz; every prepared clip has it."""
BETWEEN_EMOTIONS = "|"
"""In the label of a clip that holds more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One recording: what its corpus says of it, and what preparing measured.

    ``clip_id`` is the POSIX path below the corpus root without its ending (with it where two files
    differ in nothing else); the bare published name for RAVDESS and EMO-DB. None means unknown (or,
    for the measured fields, not prepared yet).
    """

    clip_id: str
    path: str
    """Where the audio is, below the corpus root; ``archive.zip::member`` inside a zip,
    ``SPLIT/ROW`` in a dataset."""
    speaker: str | None = None
    gender: str | None = None
    """``female`` or ``male``."""
    emotion: str | None = None
    """Name of the class; None is unlabelled, ``angry|sad`` holds more than one emotion."""
    intensity: str | None = None
    text: str | None = None
    """What is said: a transcript or the number of a statement."""
    repetition: str | None = None
    split: str | None = None
    """The part that the corpus itself puts the clip in (``train``, ``test``)."""
    parent: str | None = None
    """The recording that this one is a part of: its clip_id, or a name for it if it is no clip."""
    offset_seconds: float | None = None
    """Where in its parent the segment starts."""

    num_samples: int | None = None
    """At ``SAMPLE_RATE``."""
    source_sample_rate: int | None = None
    source_channels: int | None = None
    source_format: str | None = None
    """Container and encoding as found in the bytes, e.g. ``WAV/PCM_16``."""
    source_bytes: int | None = None
    """Size of the file that the audio was read from."""
    peak: float | None = None
    """Largest magnitude, 1.0 is full scale."""
    rms_db: float | None = None
    """Level over the whole clip, dB relative to full scale."""
    audio_sha256: str | None = None
    """Of the prepared samples: equal audio has an equal hash whatever its container."""

    @property
    def duration_seconds(self) -> float:
        """Length of the prepared audio.

        Raises:
            ValueError: the clip has not been prepared.
        """
        if self.num_samples is None:
            raise ValueError(f"{self.clip_id} has not been prepared: its length is unknown")
        return self.num_samples / SAMPLE_RATE

    @property
    def emotions(self) -> tuple[str, ...]:
        """Every emotion that the clip holds; none if it is unlabelled."""
        return () if self.emotion is None else tuple(self.emotion.split(BETWEEN_EMOTIONS))

    def with_measured(self, **measured: object) -> "Clip":
        """The same clip with measured fields filled in."""
        return replace(self, **measured)  # type: ignore[arg-type]


_FLOATS = {"offset_seconds", "peak", "rms_db"}
_INTS = {"num_samples", "source_sample_rate", "source_channels", "source_bytes"}
SCHEMA = pa.schema(
    [
        (
            field.name,
            pa.float64()
            if field.name in _FLOATS
            else pa.int64()
            if field.name in _INTS
            else pa.string(),
        )
        for field in fields(Clip)
    ]
)

_NEEDED = ("clip_id", "path")


def write_manifest(clips: Sequence[Clip], path: Path) -> None:
    """Writes a parquet file, one row per clip, columns as in ``SCHEMA``."""
    pq.write_table(pa.Table.from_pylist([asdict(clip) for clip in clips], schema=SCHEMA), path)


def read_manifest(path: Path | BinaryIO) -> list[Clip]:
    """Reads what ``write_manifest`` wrote, now or before it had as many columns as today.

    Args:
        path: of the file, or the open file itself.

    Raises:
        DataError: no such file, not parquet, or other columns.
    """
    try:
        table = pq.read_table(path)
        known = [name for name in SCHEMA.names if name in table.column_names]
        odd = sorted({*table.column_names, *_NEEDED} - set(known))
        rows = [] if odd else table.select(known).cast(_choose(known)).to_pylist()
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"manifest {path} can't be read: {error}") from None
    if odd:
        raise DataError(f"manifest {path}: missing or unknown columns {', '.join(odd)}")
    return [Clip(**row) for row in rows]


def _choose(names: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in names])
