"""Recordings of the same shape once stretched in time and shifted in pitch.

Pitch change and time stretch leave no waveform to compare, but the spectrogram, on a logarithmic
axis of frequency, stays the same picture, moved and stretched evenly. People stretch a sentence
unevenly when they say it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import uniform_filter, uniform_filter1d
from scipy.signal import get_window
from sklearn.decomposition import PCA
from sklearn.neighbors import BallTree

from ssl_audio.audit.copies.landmarks import NARROW_RATE

Float = npt.NDArray[np.float32]
Picture = npt.NDArray[np.float16]

FEWEST_FRAMES = 25
"""Half a second: shorter pictures resemble each other by chance."""

_WINDOW = get_window("hann", 2048).astype(np.float32)
"""256 ms resolve the harmonics of a voice, which tell more than its formants."""
_HOP = 160
"""Samples, 20 ms."""
_LOWEST_HZ = 80.0
_BANDS_PER_OCTAVE = 24
_NUM_BANDS = 132
"""Up to 3.6 kHz."""
_EXPONENT = 0.3
_CONTRAST = (7, 21)
"""Bands and frames of the surroundings that are subtracted."""
_ENERGY_PARTS = (0.005, 0.995)
"""Of the energy between which the sound is taken to last."""
_FRAMES_DESCRIBED = 64
_MODULATIONS = (256, 128)
"""Along frequency and along time."""
_KEPT_MODULATIONS = (slice(0, 40, 2), slice(0, 24))
_DIMENSIONS = 24
_NEIGHBOURS = 10
_CLOSE = 0.94
"""Least cosine of two descriptions: copies lie above 0.955 in nine of ten cases, the nearest other
recordings about it."""
_MOST_SHIFT = 10
"""Bands, five semitones."""
_STRETCHES = 1 + np.arange(-0.08, 0.081, 0.02)
"""About the ratio of the two lengths."""
_PLAUSIBLE_STRETCH = (0.7, 1.45)
_PROMISING = 0.45
"""Likeness at the ratio of the two lengths below which nothing else is tried."""
_PART = 15
"""Frames, 0.3 s."""
_WORST = 0.1
"""Share of the sound that fits worst."""
_MOST_MOVE = 3
"""Frames and bands by which a part is moved to see whether it fits better."""
_SAME_SHAPE = 0.75
"""Least value of two copies. Different recordings reach 0.63 on the synthetic corpus and 0.72 among
the competition's 8308; of the former's copies through librosa's stretch and shift 98 in 100 are
above 0.74."""
_LEAST_STRETCH = 0.045
_LEAST_SEMITONES = 0.5
_EVEN = 0.85
"""Least evenness of two copies; on the synthetic corpus 99 in 100 have it."""


@dataclass(frozen=True)
class Likeness:
    """How well one picture fits another."""

    value: float
    """Correlation, at most 1: of the whole, or the best one in the worst tenth of the sound."""
    even: float
    """Share of the sound that fits nowhere better, a little earlier or later, higher or lower."""
    stretch: float
    """Length of the first over that of the second."""
    semitones: float
    """That the first lies above the second."""

    @property
    def is_copy(self) -> bool:
        """Whether people could not have said it again so alike.

        What is neither stretched nor shifted is none: it would have the same waveform.
        """
        changed = abs(self.stretch - 1) > _LEAST_STRETCH or abs(self.semitones) >= _LEAST_SEMITONES
        return changed and self.value >= _SAME_SHAPE and self.even >= _EVEN


def draw_picture(narrow: Float) -> Picture:
    """The part of a recording that sounds, as contrasts on a logarithmic axis of frequency.

    Args:
        narrow: (samples,) float32 at ``NARROW_RATE``.

    Returns:
        (bands, frames) float16: thousands of pictures are held at a time.
    """
    half = len(_WINDOW) // 2
    cut = np.lib.stride_tricks.sliding_window_view(np.pad(narrow, half), len(_WINDOW))[::_HOP]
    power = np.square(np.abs(scipy.fft.rfft(cut * _WINDOW, axis=1))) @ _BANK
    begin, stop = _find_sound(power)
    level = power[begin:stop].T ** _EXPONENT
    contrast = level - uniform_filter(level, _CONTRAST, mode="nearest")
    picture: Picture = (contrast / max(float(np.abs(contrast).max()), 1e-12)).astype(np.float16)
    return picture


def describe_picture(picture: Picture) -> Float:
    """Numbers that hardly change if a picture is moved or stretched: (modulations,) float32.

    The magnitude of its Fourier transform does not know where things are; the grid is as long for
    every picture, whatever its length in time.
    """
    even = _resample(picture, _FRAMES_DESCRIBED / picture.shape[1])
    spectrum = np.abs(scipy.fft.fft2(even, _MODULATIONS))[_KEPT_MODULATIONS]
    numbers = np.sqrt(spectrum).ravel().astype(np.float32)
    return numbers / max(float(np.linalg.norm(numbers)), 1e-12)


def find_neighbours(descriptions: Sequence[Float]) -> list[tuple[int, int]]:
    """Every two pictures that are close, one among the nearest of the other, by position.

    A ball tree over the main components: an index, not all pairs.
    """
    if not descriptions:
        return []
    stacked = np.stack(descriptions)
    if len(stacked) <= _NEIGHBOURS + 1:
        pairs = set(combinations(range(len(stacked)), 2))
    else:
        components = min(_DIMENSIONS, *stacked.shape)
        # Whitened: else the loudest components, which speaker and length decide, hide the others.
        reduced = PCA(components, svd_solver="covariance_eigh", whiten=True).fit_transform(stacked)
        nearest = BallTree(reduced).query(reduced, _NEIGHBOURS + 1, return_distance=False)
        pairs = {
            (min(one, int(other)), max(one, int(other)))
            for one, others in enumerate(nearest)
            for other in others
            if one != other
        }
    return [(a, b) for a, b in sorted(pairs) if float(stacked[a] @ stacked[b]) >= _CLOSE]


def compare_pictures(first: Picture | Float, second: Picture | Float) -> Likeness:
    """The best fit of one picture on another over stretches, shifts and places.

    Once the best is found its parts are looked at: people who say a sentence again are nowhere
    exactly as much slower and higher as everywhere else.
    """
    ratio = first.shape[1] / second.shape[1]
    first, second = first.astype(np.float32), second.astype(np.float32)
    coarse = _fit(first, second, ratio)
    if coarse.value < _PROMISING:
        return coarse
    low, high = _PLAUSIBLE_STRETCH
    fits = [_fit(first, second, r) for r in ratio * _STRETCHES if low < r < high]
    best = max([coarse, *fits], key=lambda fit: fit.value)
    return _look_closer(first, second, best)


def _look_closer(first: Float, second: Float, fit: Likeness) -> Likeness:
    a, b = _lay(first, _resample(second, fit.stretch), fit.semitones)
    sound = uniform_filter1d(np.square(a).sum(axis=0, dtype=np.float64), _PART)
    sound /= max(float(sound.sum()), 1e-12)
    moves = list(product(range(-_MOST_MOVE, _MOST_MOVE + 1), repeat=2))
    fits = np.stack([_fit_parts(*_shift(a, np.roll(b, f, axis=1), s)) for s, f in moves])
    bands, frames = np.array(moves)[fits.argmax(axis=0)].T
    # The stretch is known to a grid only: the way along the whole may lean, evenly.
    lean = np.polynomial.Polynomial.fit(np.arange(len(frames)), frames, 1, w=np.sqrt(sound))
    in_time = np.abs(frames - lean(np.arange(len(frames)))) <= 1
    in_tune = [(bands == band) | (bands == band + 1) for band in (-1, 0)]
    even = max(float(sound[in_time & tuned].sum()) for tuned in in_tune)
    unmoved = fits[moves.index((0, 0))]
    order = np.argsort(unmoved)
    worst = int(np.searchsorted(np.cumsum(sound[order]), _WORST))
    value = float(unmoved[order][min(worst, len(order) - 1)])
    return replace(fit, value=value, even=even)


def _lay(first: Float, second: Float, semitones: float) -> tuple[Float, Float]:
    """The parts of two pictures that lie on each other where both fit best."""
    first, second = _shift(first, second, round(semitones * _BANDS_PER_OCTAVE / 12))
    size = scipy.fft.next_fast_len(first.shape[1] + second.shape[1], real=True)
    crossed = scipy.fft.rfft(first, size, axis=1) * np.conj(scipy.fft.rfft(second, size, axis=1))
    lag = int(np.argmax(scipy.fft.irfft(crossed.sum(axis=0), size)))
    lag = lag if lag < first.shape[1] else lag - size
    begin, stop = max(lag, 0), min(first.shape[1], second.shape[1] + lag)
    return first[:, begin:stop], second[:, begin - lag : stop - lag]


_SILENT = 1e-9
"""Energy around a frame below which there is nothing to correlate."""


def _fit_parts(first: Float, second: Float) -> npt.NDArray[np.float64]:
    """Correlation around every frame; none where one of both is silent."""
    along, own, others = (
        uniform_filter1d((a * b).sum(axis=0, dtype=np.float64), _PART)
        for a, b in ((first, second), (first, first), (second, second))
    )
    root = np.sqrt(np.maximum(own * others, 0))  # a running sum of nothing may be just below 0
    fits: npt.NDArray[np.float64] = np.zeros_like(along)
    return np.divide(along, root, out=fits, where=root > _SILENT)


def _shift(first: Float, second: Float, bands: int) -> tuple[Float, Float]:
    """The bands of both that meet if the first lies so many above the second."""
    return (
        first[max(bands, 0) : len(first) + min(bands, 0)],
        second[max(-bands, 0) : len(second) - max(bands, 0)],
    )


def _fit(first: Float, second: Float, stretch: float) -> Likeness:
    second = _resample(second, stretch)
    size = scipy.fft.next_fast_len(first.shape[1] + second.shape[1], real=True)
    a = scipy.fft.rfft(first, size, axis=1)
    b = np.conj(scipy.fft.rfft(second, size, axis=1))
    shifts = range(-_MOST_SHIFT, _MOST_SHIFT + 1)
    crossed = [np.multiply(*_shift(a, b, bands)).sum(axis=0) for bands in shifts]
    energies = [
        np.square(one).sum() * np.square(other).sum()
        for one, other in (_shift(first, second, bands) for bands in shifts)
    ]
    peaks = scipy.fft.irfft(np.stack(crossed), size, axis=1).max(axis=1)
    values = peaks / np.sqrt(np.maximum(energies, 1e-20))
    best = int(np.argmax(values))
    semitones = 12 * shifts[best] / _BANDS_PER_OCTAVE
    return Likeness(float(values[best]), 0.0, stretch, semitones)


def _find_sound(power: Float) -> tuple[int, int]:
    """Frames between which nearly all energy above the background lies; at least two."""
    energy = power.sum(axis=1)
    above = np.maximum(uniform_filter1d(energy - np.quantile(energy, 0.1), 5), 0)
    grown = np.cumsum(above)
    begin, stop = np.searchsorted(grown, np.multiply(_ENERGY_PARTS, grown[-1]))
    begin = min(int(begin), max(len(power) - 2, 0))
    return begin, max(int(stop) + 1, begin + 2)


def _resample(picture: Picture | Float, stretch: float) -> Float:
    """The picture with ``stretch`` times as many frames, by linear interpolation."""
    count = max(2, round(picture.shape[1] * stretch))
    places = np.linspace(0, picture.shape[1] - 1, count)
    left = np.minimum(places.astype(np.int64), max(picture.shape[1] - 2, 0))
    right = np.minimum(left + 1, picture.shape[1] - 1)
    weight = (places - left).astype(np.float32)
    stretched: Float = picture[:, left] * (1 - weight) + picture[:, right] * weight
    return stretched


def _build_bank() -> Float:
    """(bins, bands): triangles a quarter tone wide, or as wide as a bin where bins are wider."""
    bins = np.fft.rfftfreq(len(_WINDOW), 1 / NARROW_RATE)
    centres = _LOWEST_HZ * 2 ** (np.arange(-1, _NUM_BANDS + 1) / _BANDS_PER_OCTAVE)
    widths = np.maximum((centres[2:] - centres[:-2]) / 2, NARROW_RATE / len(_WINDOW))
    bank = np.maximum(0, 1 - np.abs(bins[:, None] - centres[1:-1]) / widths)
    return (bank / bank.sum(axis=0)).astype(np.float32)


_BANK = _build_bank()
