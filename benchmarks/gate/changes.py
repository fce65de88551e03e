"""Ways in which a recording comes back as another file, each at several strengths."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import librosa
import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr
from scipy.signal import fftconvolve

from ssl_audio.audit.copies import CopyKind
from ssl_audio.data.audio import FULL_SCALE, Int16
from ssl_audio.data.manifest import SAMPLE_RATE

Float = npt.NDArray[np.float32]
Apply = Callable[[Float, np.random.Generator], Float]

_REVERBERATION_SECONDS = 0.3
_SHORTEST = SAMPLE_RATE // 4
"""Samples that a cut leaves."""


@dataclass(frozen=True)
class Change:
    """One change at one strength."""

    kind: CopyKind
    name: str
    strength: str
    apply: Apply
    """Takes and gives (samples,) float32 mono at 16 kHz."""

    def on_int16(self, samples: Int16, rng: np.random.Generator) -> Int16:
        """The same for samples as they are prepared."""
        return _on_int16(self.apply, samples, rng)


def list_changes() -> list[Change]:
    """Every change at every strength, in the order of the report."""
    near = [
        *(("MP3", f"{rate} kbit/s", _mp3(level)) for rate, level in _MP3_LEVELS.items()),
        *(("Opus", f"{rate} kbit/s", _opus(level)) for rate, level in _OPUS_LEVELS.items()),
        *(("level", f"{gain:+d} dB", _gain(gain)) for gain in (-12, -6, 6, 12)),
        *(("resampled", f"{rate} Hz", _resample(rate)) for rate in (8000, 11_025, 22_050, 44_100)),
        *(("trimmed", f"up to {most} s", _trim(most)) for most in (0.1, 0.5)),
        *(("padded", f"up to {most} s", _pad(most)) for most in (0.1, 0.5)),
        *(("noise", f"{snr} dB", _noise(snr)) for snr in (30, 20)),
        ("trimmed, quieter, noise, MP3", "0.3 s, -9 dB, 25 dB, 24 kbit/s", _all_at_once),
    ]
    augmented = [
        *(("noise", f"{snr} dB", _noise(snr)) for snr in (10, 5)),
        *(("time stretch", f"{rate}", _stretch(rate)) for rate in _STRETCHES),
        *(("pitch", f"{steps:+g} semitones", _pitch(steps)) for steps in (-2, 0.7, 2, 4)),
        *(("speed", f"{rate}", _speed(rate)) for rate in (0.9, 1.1)),
        ("pitch and stretch", "+1 semitone, 1.1", _chain(_pitch(1), _stretch(1.1))),
        ("stretch and noise", "0.9, 15 dB", _chain(_stretch(0.9), _noise(15))),
        ("rolled", "10 to 50 %", _roll),
        ("reverberation", "0.3 s", _reverberate),
    ]
    parts = [("part", f"{share:.0%}", _part(share)) for share in (0.25, 0.5)]
    by_kind: dict[CopyKind, list[tuple[str, str, Apply]]] = {
        "near_identical_audio": near,
        "augmented_copies": augmented,
        "split_parent": parts,
    }
    return [Change(kind, *change) for kind, changes in by_kind.items() for change in changes]


def list_joint_changes() -> dict[str, Callable[[Int16, np.random.Generator], Int16]]:
    """What happens to both halves of a recording that was cut in two, by strength."""
    mp3, noise = _mp3(_MP3_LEVELS[128]), _noise(30)
    return {
        "as cut": lambda samples, rng: samples,
        "noise 30 dB": lambda samples, rng: _on_int16(noise, samples, rng),
        "MP3 128 kbit/s": lambda samples, rng: _on_int16(mp3, samples, rng),
    }


def _on_int16(apply: Apply, samples: Int16, rng: np.random.Generator) -> Int16:
    changed = apply(samples.astype(np.float32) / np.float32(FULL_SCALE), rng)
    return np.clip(np.rint(changed * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


_STRETCHES = (0.8, 0.9, 0.97, 1.03, 1.1, 1.25)
_MP3_LEVELS = {16: 0.95, 24: 0.9, 64: 0.6, 128: 0.2}
"""libsndfile's compression level by kbit/s at 16 kHz mono, constant rate."""
_OPUS_LEVELS = {16: 0.96, 32: 0.896, 64: 0.768, 128: 0.512}
"""Its compression level is linear from 256 kbit/s at 0 to 6 at 1."""


def _encode(waveform: Float, **settings: object) -> Float:
    file = io.BytesIO()
    sf.write(file, np.clip(waveform, -1, 1), SAMPLE_RATE, **settings)
    file.seek(0)
    decoded, sample_rate = sf.read(file, dtype="float32")
    return _to_rate(decoded, sample_rate, SAMPLE_RATE)


def _mp3(level: float) -> Apply:
    return lambda waveform, rng: _encode(
        waveform,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=level,
        bitrate_mode="CONSTANT",
    )


def _opus(level: float) -> Apply:
    return lambda waveform, rng: _encode(
        waveform, format="OGG", subtype="OPUS", compression_level=level
    )


def _gain(gain_db: float) -> Apply:
    return lambda waveform, rng: np.clip(waveform * np.float32(10 ** (gain_db / 20)), -1, 1)


def _to_rate(waveform: Float, source: float, target: float) -> Float:
    resampled: Float = soxr.resample(waveform, source, target).astype(np.float32)
    return resampled


def _resample(sample_rate: int) -> Apply:
    return lambda waveform, rng: _to_rate(
        _to_rate(waveform, SAMPLE_RATE, sample_rate), sample_rate, SAMPLE_RATE
    )


def _trim(most_seconds: float) -> Apply:
    def trim(waveform: Float, rng: np.random.Generator) -> Float:
        most = min(most_seconds * SAMPLE_RATE, max(len(waveform) - _SHORTEST, 0) / 2)
        begin, end = rng.uniform(0, most, 2).astype(int)
        return waveform[begin : len(waveform) - end]

    return trim


def _pad(most_seconds: float) -> Apply:
    def pad(waveform: Float, rng: np.random.Generator) -> Float:
        return np.pad(waveform, rng.integers(0, round(most_seconds * SAMPLE_RATE), 2))

    return pad


def _noise(snr_db: float) -> Apply:
    def add(waveform: Float, rng: np.random.Generator) -> Float:
        scale = np.sqrt(np.mean(np.square(waveform))) * 10 ** (-snr_db / 20)
        noise = rng.standard_normal(len(waveform), dtype=np.float32)
        return waveform + np.float32(scale) * noise

    return add


def _stretch(rate: float) -> Apply:
    return lambda waveform, rng: librosa.effects.time_stretch(waveform, rate=rate)


def _pitch(steps: float) -> Apply:
    return lambda waveform, rng: librosa.effects.pitch_shift(
        waveform, sr=SAMPLE_RATE, n_steps=steps
    )


def _speed(rate: float) -> Apply:
    return lambda waveform, rng: _to_rate(waveform, SAMPLE_RATE * rate, SAMPLE_RATE)


def _roll(waveform: Float, rng: np.random.Generator) -> Float:
    return np.roll(waveform, round(rng.uniform(0.1, 0.5) * len(waveform)))


def _reverberate(waveform: Float, rng: np.random.Generator) -> Float:
    """Exponentially decaying noise after the direct sound, half its energy."""
    time = np.arange(round(_REVERBERATION_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * np.exp(-time * 6.9 / _REVERBERATION_SECONDS)
    tail *= np.sqrt(0.5 / np.sum(tail**2))
    tail[0] = 1
    wet: Float = fftconvolve(waveform, tail)[: len(waveform)].astype(np.float32)
    return wet


def _part(share: float) -> Apply:
    def cut(waveform: Float, rng: np.random.Generator) -> Float:
        length = max(round(share * len(waveform)), _SHORTEST)
        energy = np.cumsum(np.square(waveform, dtype=np.float64))
        # Where the sound is: a part that is silent is a part of nothing.
        middle = int(np.searchsorted(energy, rng.uniform(0.3, 0.7) * energy[-1]))
        begin = min(max(middle - length // 2, 0), max(len(waveform) - length, 0))
        return waveform[begin : begin + length]

    return cut


def _chain(*changes: Apply) -> Apply:
    def apply(waveform: Float, rng: np.random.Generator) -> Float:
        for change in changes:
            waveform = change(waveform, rng)
        return waveform

    return apply


_all_at_once = _chain(_trim(0.3), _gain(-9), _noise(25), _mp3(_MP3_LEVELS[24]))
