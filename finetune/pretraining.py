"""What an encoder learnt from before it met labels, as far as its own folder tells."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ssl_audio.checkpoint import file_sha256
from ssl_audio.data.manifest import read_manifest
from ssl_audio.run_record import SEEN_CLIPS, read_run_record

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Pretraining:
    """Of an encoder; the empty one is of an encoder that starts from scratch."""

    pool: str = ""
    """Name of the audio it saw."""
    notes: tuple[str, ...] = ()
    """What a reader of a row must know of it."""
    weights: str = ""
    """Name and sha256."""
    seen: frozenset[str] = frozenset()
    """sha256 of the audio of every clip it saw."""

    @classmethod
    def read(cls, encoder: Path | None) -> "Pretraining":
        """Of the encoder in a folder; None is no pretraining.

        Raises:
            DataError: the folder lists the clips seen but holds no finished run.
        """
        if encoder is None:
            return cls()
        weights = f"{encoder.resolve().name} {file_sha256(encoder / WEIGHTS)}"
        if not (encoder / SEEN_CLIPS).is_file():
            return cls("unknown", ("what the encoder was pretrained on is not known",), weights)
        record = read_run_record(encoder)
        notes = ("pretraining's budget was cut",) if record["budget_cut"] else ()
        clips = read_manifest(encoder / SEEN_CLIPS)
        seen = frozenset(clip.audio_sha256 for clip in clips if clip.audio_sha256 is not None)
        return cls(str(record["pretraining_data"]), notes, weights, seen)

    def saw(self, audio_hashes: Iterable[str | None]) -> bool:
        """Whether one of these clips was seen, whatever the pool is called."""
        return not self.seen.isdisjoint(audio_hashes)
