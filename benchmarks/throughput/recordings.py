"""Hour-long recordings of synthetic speech, cheap to make and costly to read as any others.

A few minutes of speech are rendered and cut into blocks; every recording is their own order of
them. An mp3 (48 kHz stereo) is put together from blocks that were encoded once; a FLAC (16 kHz
mono) is encoded whole. So their content repeats, but every second of them has to be decoded.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from ssl_audio.data.audio import FULL_SCALE
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.synthetic import SyntheticSettings, list_clips, render

Int16 = npt.NDArray[np.int16]

BLOCK_SECONDS = 30
ENDINGS = ("mp3", "flac")
"""Of the recordings, in turn."""
MP3_RATE = 48_000
"""Hz; at this rate all frames of one bit rate are equally long, so the first one tells how many
there are in a file without a table."""
_POOL = SyntheticSettings(num_speakers=6, num_statements=1, num_repetitions=2)
_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
"""By the index in the header of a frame of MPEG-1 layer III."""


@dataclass(frozen=True)
class Blocks:
    """What recordings are made of."""

    samples: tuple[Int16, ...]
    """Each (BLOCK_SECONDS * 16000,) int16."""
    mp3: tuple[bytes, ...]
    """The same as frames without a header of their own."""


def render_blocks() -> Blocks:
    """Some three minutes of speech in blocks, always the same."""
    samples = render_samples()
    return Blocks(samples, tuple(map(_encode_mp3, samples)))


def render_samples() -> tuple[Int16, ...]:
    """The blocks' audio alone: (BLOCK_SECONDS * 16000,) int16 each."""
    speech = np.concatenate([render(clip, _POOL.seed) for clip in list_clips(_POOL)])
    size = BLOCK_SECONDS * SAMPLE_RATE
    return tuple(speech[: len(speech) // size * size].reshape(-1, size))


def write_recordings(folder: Path, count: int, seconds: float) -> list[Path]:
    """Writes mp3 and FLAC in turn.

    Args:
        folder: made if need be.
        count: of the recordings.
        seconds: of each, up to the next whole block; an mp3 has some 0.1 % more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"recording{number:04d}.{ENDINGS[number % 2]}" for number in range(count)]
    blocks = render_blocks()
    num_blocks = -int(-seconds // BLOCK_SECONDS)
    for number, path in enumerate(paths):
        order = np.random.default_rng(number).integers(len(blocks.samples), size=num_blocks)
        if path.suffix == ".mp3":
            path.write_bytes(b"".join(blocks.mp3[place] for place in order))
        else:
            audio = np.concatenate([blocks.samples[place] for place in order])
            sf.write(path, audio, SAMPLE_RATE)
    return paths


def _encode_mp3(samples: Int16) -> bytes:
    """Frames of constant bit rate, 48 kHz stereo, without the first: it tells of a length."""
    mono = soxr.resample(samples / np.float32(FULL_SCALE), SAMPLE_RATE, MP3_RATE)
    file = io.BytesIO()
    sf.write(
        file,
        np.stack([mono, 0.7 * mono], axis=1),
        MP3_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=0.7,
    )
    encoded = file.getvalue()
    return encoded[144_000 * _KBPS[encoded[2] >> 4] // MP3_RATE :]
