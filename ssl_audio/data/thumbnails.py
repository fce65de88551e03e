"""Small pictures of a clip for the corpus page: spectrogram, MFCC, chroma.

NumPy alone draws them, in milliseconds: on its first use librosa compiles for some 15 s, and
matplotlib is optional.
"""

import base64
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from ssl_audio.data.manifest import SAMPLE_RATE

Float = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]

HOP = 160
"""Samples; a clip of more than ``MOST_FRAMES`` gets a longer one."""
MOST_FRAMES = 600
N_MELS = 80
N_MFCC = 20
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
NICE_STEPS = tuple(10.0**power * digit for power in range(-2, 6) for digit in (1, 2, 5))
"""Between the numbers on an axis, and the bars of a histogram."""

_CHROMA_HZ = (80, 2000)
_RANGE_DB = 70
_FLOOR_DB = -140
"""Below what 16 bits can hold."""
_MAGMA = "000004 1d1147 51127c 832681 b73779 e75263 fc8961 fec488 fcfdbf"
"""Every 32nd colour of matplotlib's map of this name (CC0)."""
_BLUE_TO_RED = "2b5c8a 7ba3c8 f7f7f5 d98f7c 9e3d2c"


@dataclass(frozen=True)
class Tick:
    """A label on an axis."""

    at: float
    """0 is left or bottom, 1 is right or top."""
    label: str


@dataclass(frozen=True)
class Picture:
    """An image, and the axes that the page draws around it."""

    title: str
    png: str
    """Base64."""
    y_label: str
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    """Seconds."""


def draw(audio: Int16) -> tuple[Picture, Picture, Picture]:
    """Spectrogram, MFCC and chroma of a clip, (samples,) int16 mono at 16 kHz."""
    mel_db = compute_mel_db(audio)
    loudest = max(mel_db.max(), _FLOOR_DB + _RANGE_DB)
    mfcc = compute_mfcc(mel_db)[1:]
    seconds = tick(0, len(audio) / SAMPLE_RATE)
    top_mel = _to_mel(SAMPLE_RATE / 2)
    bands = [
        Tick(float(_to_mel(hertz) / top_mel), f"{hertz / 1000:g}k" if hertz >= 1000 else str(hertz))
        for hertz in (250, 500, 1000, 2000, 4000, 8000)
    ]
    numbers = [Tick((number - 0.5) / len(mfcc), str(number)) for number in (1, 5, 10, 15, 19)]
    classes = [Tick((n + 0.5) / 12, name) for n, name in enumerate(PITCH_CLASSES) if len(name) == 1]
    spread = max(float(np.percentile(np.abs(mfcc), 97)), 1e-9)
    return (
        Picture(
            "Spectrogram",
            _to_png(1 + (mel_db - loudest) / _RANGE_DB, _MAGMA),
            "Hz, mel scale",
            tuple(bands),
            seconds,
        ),
        Picture(
            "MFCC",
            _to_png(0.5 + mfcc / spread / 2, _BLUE_TO_RED),
            "coefficient",
            tuple(numbers),
            seconds,
        ),
        Picture(
            "Chroma", _to_png(compute_chroma(audio), _MAGMA), "pitch class", tuple(classes), seconds
        ),
    )


def compute_mel_db(audio: Int16) -> Float:
    """(N_MELS, frames) power in dB, full scale is 0; HTK bands of peak one over windows of 32 ms.

    Args:
        audio: (samples,) int16 mono at 16 kHz.
    """
    power = _power(audio, n_fft=512)
    hertz = np.linspace(0, SAMPLE_RATE / 2, len(power))
    edges_mel = np.linspace(0, _to_mel(SAMPLE_RATE / 2), N_MELS + 2)
    low, middle, high = np.lib.stride_tricks.sliding_window_view(
        700 * (10 ** (edges_mel / 2595) - 1), N_MELS
    )[:, :, None]
    bands = np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle))
    mel_power = np.maximum(bands, 0).astype(np.float32) @ power
    decibels: Float = 10 * np.log10(mel_power + 10 ** (_FLOOR_DB / 10))
    return decibels


def compute_mfcc(mel_db: Float) -> Float:
    """(N_MFCC, frames) cepstrum of mel bands in dB, an orthonormal DCT-II."""
    cepstrum: Float = scipy.fft.dct(mel_db, axis=0, norm="ortho")[:N_MFCC]
    return cepstrum


def compute_chroma(audio: Int16) -> Float:
    """(12, frames) power by pitch class, C first, relative to the strongest class of each frame.

    Windows of 256 ms tell semitones apart from 80 Hz on; frames 40 dB below the loudest stay dark.
    """
    power = _power(audio, n_fft=4096)
    hertz = np.linspace(0, SAMPLE_RATE / 2, len(power))
    heard = (hertz >= _CHROMA_HZ[0]) & (hertz <= _CHROMA_HZ[1])
    semitone = np.rint(12 * np.log2(hertz[heard] / 440)).astype(int) + PITCH_CLASSES.index("A")
    in_class = semitone % 12 == np.arange(12)[:, None]
    chroma = in_class.astype(np.float32) @ power[heard]
    strongest = chroma.max(axis=0, keepdims=True)
    relative: Float = chroma / np.maximum(strongest, 1e-4 * strongest.max() + 1e-20)
    return relative


def _power(audio: Int16, n_fft: int) -> Float:
    """(bins, frames) of Hann windows around every hop; full scale is 1."""
    waveform = np.pad(audio.astype(np.float32) / 32768, n_fft // 2)
    hop = max(HOP, -(-len(audio) // MOST_FRAMES))
    frames = np.lib.stride_tricks.sliding_window_view(waveform, n_fft)[::hop]
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    spectra = scipy.fft.rfft(frames * window, axis=1) / (window.sum() / 2)
    power: Float = (np.abs(spectra) ** 2).T
    return power


def _to_mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def tick(low: float, high: float) -> tuple[Tick, ...]:
    """Round numbers along an axis, six intervals at most."""
    step = next(step for step in NICE_STEPS if (high - low) / step <= 6)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return tuple(
        Tick((number * step - low) / (high - low), f"{number * step:g}") for number in numbers
    )


def _to_png(rows: npt.NDArray[np.floating], colours: str) -> str:
    """Base64 PNG of values in [0, 1], lowest row at the bottom, coloured along a map."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in colours.split()])
    places = np.linspace(0, len(anchors) - 1, 256)
    palette = np.stack([np.interp(places, range(len(anchors)), c) for c in anchors.T], axis=1)
    pixels = (np.clip(rows[::-1], 0, 1) * 255).astype(np.uint8)
    height, width = pixels.shape
    lines = np.pad(pixels, ((0, 0), (1, 0)))  # each line starts with its filter: none
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": palette.astype(np.uint8).tobytes(),
        b"IDAT": zlib.compress(lines.tobytes(), 6),
        b"IEND": b"",
    }
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    return base64.b64encode(png).decode()
