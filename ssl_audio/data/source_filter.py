"""Speech sounds by source and filter: glottal pulses and noise through a vocal tract."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft

from ssl_audio.data.manifest import SAMPLE_RATE

Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex64]

HOP = 160
"""Samples; one setting of the filters holds for 10 ms and fades into the next."""
_N_FFT = 6 * HOP
"""A window of 2 hops, and 40 ms for the formants to ring."""
_HERTZ = np.linspace(0, SAMPLE_RATE / 2, _N_FFT // 2 + 1, dtype=np.float32)
_BANDWIDTHS_HZ = np.array([70, 100, 150, 220, 300])
NUM_COLOURS = 12
"""Points of a curve over the spectrum, evenly over the 7 octaves from 60 Hz."""
_OPENING, _OPEN, _RETURN = 0.40, 0.56, 0.02
"""Of a glottal cycle: when the flow is largest, when the folds meet, how fast they come to rest."""


class Score(NamedTuple):
    """A clip's course: one value per frame of 10 ms."""

    pitch: Float
    """Semitones above 100 Hz."""
    voicing: Float
    """Gain of the glottal source."""
    formants: Float
    """(frames, 5) Hz."""
    noise: Float
    """(3, frames, 1) of the consonants: centre in Hz, width in Hz, gain."""


def excite(
    score: Score, jitter: float, breath: float, rng: np.random.Generator
) -> tuple[Float, Float]:
    """The glottal source and the consonants' noise before any filter, each (samples,).

    Args:
        score: what is said.
        jitter: standard deviation of F0 from pulse to pulse, relative.
        breath: standard deviation of the aspiration noise relative to the peak of the pulses.
        rng: where the randomness comes from.
    """
    frames = np.arange(len(score.pitch))
    at = (np.arange(len(frames) * HOP) + 0.5) / HOP - 0.5
    step = 100 * 2 ** (np.interp(at, frames, score.pitch) / 12) / SAMPLE_RATE
    cycle = np.cumsum(step).astype(np.int64)
    phase = np.cumsum(step * (1 + jitter * rng.standard_normal(cycle[-1] + 1)[cycle]))
    cycle = phase.astype(np.int64)
    phase -= cycle
    shimmer = 1 + 3 * jitter * rng.standard_normal(cycle[-1] + 1)[cycle]
    white, noise = rng.standard_normal((2, len(at)), dtype=np.float32)
    aspiration = breath * white * (0.3 + (phase < _OPEN))
    source = np.interp(at, frames, score.voicing) * (shimmer * _pulse(phase) + aspiration)
    return source.astype(np.float32), noise


def _pulse(phase: Double) -> Double:
    """Derivative of the glottal flow (Rosenberg 1971, shape C) at a phase in [0, 1), peak -1.

    The return phase, as in the LF model, makes it continuous: a jump would alias.
    """
    closing = _OPEN - _OPENING
    opening = closing / _OPENING * np.sin(np.pi / _OPENING * phase)
    falling = np.sin(np.pi / 2 / closing * (np.minimum(phase, _OPEN) - _OPENING))
    returning = np.exp(-np.maximum(phase - _OPEN, 0) / _RETURN)
    return np.where(phase < _OPENING, opening, -falling * returning)


def articulate(source: Float, noise: Float, score: Score) -> Float:
    """Shapes both sources frame by frame and adds the overlapping frames up; (samples,)."""
    centre, width, gain = score.noise
    consonants = gain / (1 + ((_HERTZ - centre) / (width / 2)) ** 2)
    spectra = _spectra(source) * resonances(score.formants) + _spectra(noise) * consonants
    parts = scipy.fft.irfft(spectra, n=_N_FFT, axis=1).reshape(len(spectra), -1, HOP)
    waveform = np.zeros((len(parts) + parts.shape[1], HOP), dtype=np.float32)
    for late in range(parts.shape[1]):
        waveform[late : late + len(parts)] += parts[:, late]
    return waveform[: len(parts)].reshape(-1)


def _spectra(waveform: Float) -> Complex:
    """(frames, frequencies) of Hann windows that add up to the waveform."""
    window = np.hanning(2 * HOP + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, (0, HOP)), 2 * HOP)[::HOP]
    spectra: Complex = scipy.fft.rfft(frames * window, n=_N_FFT, axis=1)
    return spectra


def resonances(formants: Float) -> Complex:
    """(frames, frequencies) of a cascade of digital resonators (Klatt 1980, equation 3)."""
    z = np.exp(-2j * np.pi * _HERTZ / SAMPLE_RATE).astype(np.complex64)
    radius = np.exp(-np.pi * _BANDWIDTHS_HZ / SAMPLE_RATE)
    b = (2 * radius * np.cos(2 * np.pi * formants / SAMPLE_RATE)).astype(np.complex64)
    inverse = 1 / np.prod(1 - b + radius**2, axis=1, keepdims=True).astype(np.complex64)
    for formant, r in enumerate(radius):
        inverse = inverse * ((1 + r**2 * z**2) - b[:, formant, None] * z)
    return np.reciprocal(inverse)


def equalise(waveform: Float, tilt: float, colour_db: Double) -> Float:
    """Tilts the spectrum by dB per octave and lays a curve over it: a gain every 0.64 octaves."""
    hertz = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(hertz, 60) / 60)
    gain_db = tilt * octaves + np.interp(octaves, np.linspace(0, 7, NUM_COLOURS), colour_db)
    gain = 10 ** (gain_db / 20) * hertz**2 / (hertz**2 + 80**2)
    spectrum = scipy.fft.rfft(waveform) * gain.astype(np.float32)
    equalised: Float = scipy.fft.irfft(spectrum, n=len(waveform))
    return equalised
