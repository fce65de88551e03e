"""Audio files to int16 mono at 16 kHz: with ``sound_files`` all that touches audio files."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from ssl_audio.data.containers import has_guessed_length, refuse_faults
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.mixing import Mixer
from ssl_audio.data.sound_files import (
    ForwardFile,
    by_descriptor,
    errors_translated,
    refuse_cut_short,
    refuse_missing,
)
from ssl_audio.errors import DataError

Float = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]

AUDIO_ENDINGS = frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf .w64 .rf64"
    " .m4a .aac .wma .amr".split()
)
"""What counts as an audio file when a folder is searched; what can't be decoded is set aside."""

FULL_SCALE = 32_768
QUIETEST_DB = -96.3
"""Half of the last bit: the ``rms_db`` of digital silence."""

BLOCK_SECONDS = 31
"""What lasts less is resampled in one go, what lasts longer while it is read."""
_READ_SAMPLES = 2**20
"""Of all channels together that are read at a time."""
_LOUDEST = 32.0
"""Times full scale; floats above it, 30 dB too loud, were never meant to reach from -1 to 1."""
_PLAUSIBLE_RATES_HZ = range(2_000, 768_001)


@dataclass(frozen=True)
class Source:
    """What a file's header says."""

    sample_rate: int
    """Hz."""
    channels: int
    format: str
    """Container and encoding as found in the bytes, e.g. ``WAV/PCM_16``."""


@dataclass(frozen=True)
class Audio:
    """One decoded file."""

    samples: Int16
    """(samples,) int16 mono at 16 kHz."""
    source: Source


def decode(encoded: bytes) -> Audio:
    """Decodes a whole audio file, whatever its name says it is.

    Args:
        encoded: the content of the file.

    Raises:
        DataError: as ``open_audio``.
    """
    with open_audio(io.BytesIO(encoded)) as (source, blocks):
        return Audio(np.concatenate(list(blocks)), source)


@contextmanager
def open_audio(file: BinaryIO) -> Iterator[tuple[Source, Iterator[Int16]]]:
    """Opens an audio file, to be decoded once, block by block.

    Channels are averaged, then resampled (soxr HQ), then rounded and clipped to int16 without
    dither. Mono 16-bit audio at 16 kHz comes through bit-exact. Of channels that cancel each other
    out, as those of one microphone with its sign turned do, the loudest is taken (``Mixer``).

    Args:
        file: open for reading, at its start. A file of the system is read by libsndfile itself,
            which does not hold the interpreter's lock meanwhile.

    Yields:
        What the header says, and the audio in blocks of (samples,) int16 mono at 16 kHz, at least
        one sample each. Of audio up to ``BLOCK_SECONDS`` there is one block.

    Raises:
        DataError: not audio, cut short, not finite, constant (silence, say), or no samples; the
            message names no file. The blocks raise it too: the end of a file may be missing.
    """
    if not file.seek(0, io.SEEK_END):
        raise DataError("empty file (0 bytes)")
    refuse_faults(file)
    guessed = has_guessed_length(file)
    with (
        errors_translated(),
        by_descriptor(file) as system_file,
        ForwardFile(system_file, closefd=False) as sound,
    ):
        refuse_cut_short(sound)
        source = Source(sound.samplerate, sound.channels, f"{sound.format}/{sound.subtype}")
        if source.sample_rate not in _PLAUSIBLE_RATES_HZ:
            raise DataError(f"its header gives a sample rate of {source.sample_rate} Hz")
        sound.length_is_guessed = guessed
        yield source, _decode_blocks(sound)


def measure(samples: Int16) -> dict[str, int | float | str]:
    """The manifest's measured fields that follow from the prepared samples.

    Args:
        samples: (samples,) int16 at 16 kHz, at least one.
    """
    wide = samples.astype(np.float64)
    rms = float(np.sqrt(np.mean(wide**2))) / FULL_SCALE
    return {
        "num_samples": len(samples),
        "peak": float(np.abs(wide).max()) / FULL_SCALE,
        "rms_db": max(20 * float(np.log10(rms)), QUIETEST_DB) if rms else QUIETEST_DB,
        "audio_sha256": hash_samples(samples),
    }


def hash_samples(samples: Int16) -> str:
    """sha256 of (samples,) int16, as the manifest has it."""
    return hashlib.sha256(samples.astype("<i2", copy=False).tobytes()).hexdigest()


def _decode_blocks(file: ForwardFile) -> Iterator[Int16]:
    empty = True
    with errors_translated():
        for block in _read_exact(file) if _is_exact(file) else _read_resampled(file):
            if len(block):
                empty = False
                yield block
    if empty:
        raise DataError("no samples in it")


def _is_exact(file: sf.SoundFile) -> bool:
    return (file.subtype, file.channels, file.samplerate) == ("PCM_16", 1, SAMPLE_RATE)


def _read_exact(file: ForwardFile) -> Iterator[Int16]:
    for block, _ in _read_blocks(file, "int16"):
        yield block


def _read_resampled(file: ForwardFile) -> Iterator[Int16]:
    """Short audio in one go, which sets the bits that hashes are of; the rest as a stream."""
    stream: soxr.ResampleStream | None = None
    for mono, last in _read_blocks(file, "float32"):
        _refuse_wild(mono)
        if file.samplerate == SAMPLE_RATE:
            yield _to_int16(mono)
        elif last and stream is None:
            yield _to_int16(soxr.resample(mono, file.samplerate, SAMPLE_RATE, quality="HQ"))
        else:
            stream = stream or soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, quality="HQ")
            yield _to_int16(stream.resample_chunk(mono, last=last))


def _read_blocks(file: ForwardFile, dtype: str) -> Iterator[tuple[Any, bool]]:
    """Blocks of ``BLOCK_SECONDS``, (frames,) mono, each with whether it is the last one.

    The last one is shorter, even if nothing is left for it.
    """
    block_frames = BLOCK_SECONDS * file.samplerate
    num_read, last, mixer = 0, False, Mixer()
    lowest, highest = np.inf, -np.inf
    while not last:
        block = _read_mono(file, block_frames, dtype, mixer)
        num_read += len(block)
        if len(block):
            lowest, highest = min(lowest, float(block.min())), max(highest, float(block.max()))
        last = len(block) < block_frames
        if last:
            refuse_missing(file, num_read)
            if num_read > 1:
                _refuse_constant(lowest, highest, 1 if dtype == "int16" else FULL_SCALE)
        yield block, last


def _read_mono(file: sf.SoundFile, num_frames: int, dtype: str, mixer: Mixer) -> Any:
    """(frames,) of the mixed channels, as many as there are up to a number."""
    most = max(_READ_SAMPLES // file.channels, 1)
    parts: list[Any] = []
    missing = num_frames
    while missing:
        wanted = min(missing, most)
        channels = file.read(wanted, dtype=dtype, always_2d=True)
        parts.append(mixer.mix(channels) if file.channels > 1 else channels[:, 0])
        missing -= len(channels)
        if len(channels) < wanted:
            break
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _to_int16(mono: Float) -> Int16:
    return np.clip(np.rint(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _refuse_wild(mono: Float) -> None:
    peak = float(np.abs(mono).max(initial=0.0))
    if not np.isfinite(peak):
        raise DataError("holds NaN or infinite samples")
    if peak > _LOUDEST:
        raise DataError(
            f"holds samples of {peak:.3g} times full scale: expected [-1, 1], scale it or save it "
            "as integers"
        )


def _refuse_constant(lowest: float, highest: float, scale: int) -> None:
    """Silence and a mere offset, or what would be one of them after rounding to 16 bit."""
    level = round(lowest * scale) if np.isfinite((lowest, highest)).all() else None
    if level is None or level != round(highest * scale):
        return
    if level:
        raise DataError(f"constant: every sample is {level / FULL_SCALE:.4g} of full scale")
    raise DataError("silence: every sample is zero")
