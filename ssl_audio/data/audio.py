"""Audio files to int16 mono at 16 kHz: the only file that touches audio files."""

import hashlib
import io
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from ssl_audio.data.manifest import SAMPLE_RATE
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

_PLAUSIBLE_RATES_HZ = range(2_000, 768_001)
_SIZES = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
"""libsndfile's log where a header promises another number of bytes than the file holds."""
_SLOPPY_BYTES = 64
"""Some writers count the header in."""
_STREAMED_BYTES = 2**31 - 2**20
"""Writers that can't seek back leave a size like this one in the header."""


@dataclass(frozen=True)
class Audio:
    """One decoded file."""

    samples: Int16
    """(samples,) int16 mono at 16 kHz."""
    source_sample_rate: int
    """Hz."""
    source_channels: int
    source_format: str
    """Container and encoding as found in the bytes, e.g. ``WAV/PCM_16``."""


def decode(encoded: bytes) -> Audio:
    """Decodes a whole audio file, whatever its name says it is.

    Channels are averaged, then resampled (soxr HQ), then rounded and clipped to int16 without
    dither. Mono 16-bit audio at 16 kHz comes through bit-exact.

    Args:
        encoded: the content of the file.

    Raises:
        DataError: not audio, cut short, not finite, or no samples; the message names no file.
    """
    if not encoded:
        raise DataError("empty file (0 bytes)")
    try:
        with sf.SoundFile(io.BytesIO(encoded)) as file:
            _refuse_cut_short(file)
            source = (file.samplerate, file.channels, f"{file.format}/{file.subtype}")
            samples = _read(file)
    except sf.LibsndfileError as error:
        raise DataError(f"can't be decoded as audio: {error.error_string}") from None
    if not len(samples):
        raise DataError("no samples in it")
    return Audio(samples, *source)


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
        "audio_sha256": hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest(),
    }


def _read(file: sf.SoundFile) -> Int16:
    if file.subtype == "PCM_16" and file.channels == 1 and file.samplerate == SAMPLE_RATE:
        exact: Int16 = file.read(dtype="int16")
        _refuse_missing(file, len(exact))
        return exact
    channels = file.read(dtype="float32", always_2d=True)
    _refuse_missing(file, len(channels))
    if not np.isfinite(channels).all():
        raise DataError("holds NaN or infinite samples")
    mono = channels.mean(axis=1) if file.channels > 1 else channels[:, 0]
    return _to_int16(_resample(mono, file.samplerate))


def _resample(mono: Float, source_sample_rate: int) -> Float:
    if source_sample_rate not in _PLAUSIBLE_RATES_HZ:
        raise DataError(f"its header gives a sample rate of {source_sample_rate} Hz")
    if source_sample_rate == SAMPLE_RATE:
        return mono
    resampled: Float = soxr.resample(mono, source_sample_rate, SAMPLE_RATE, quality="HQ")
    return resampled


def _to_int16(mono: Float) -> Int16:
    return np.clip(np.rint(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _refuse_cut_short(file: sf.SoundFile) -> None:
    for promised, found in _SIZES.findall(file.extra_info):
        if int(found) + _SLOPPY_BYTES < int(promised) < _STREAMED_BYTES:
            raise DataError(f"cut short: its header promises {promised} bytes, it holds {found}")


def _refuse_missing(file: sf.SoundFile, num_read: int) -> None:
    if num_read < file.frames:
        rate = file.samplerate
        raise DataError(
            f"cut short: its header promises {file.frames / rate:.2f} s, "
            f"{num_read / rate:.2f} s could be decoded"
        )
