"""A speech-like corpus made from nothing: known speakers, known emotions, no assets.

A glottal pulse train with jitter and breath passes moving formants (source and filter); consonants
are filtered noise. Syllables come from the statement, their timing and melody from the voice. An
emotion shifts the voice, and each speaker has an own way with each emotion, as people do: that is
why a random split looks better than unseen speakers. Neither the level nor the length of a clip
depends on its emotion.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

from ssl_audio.data.audio import FULL_SCALE, measure
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.data.source_filter import HOP, NUM_COLOURS, Score, articulate, equalise, excite

Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]


class Voice(NamedTuple):
    """How something is said. Every field is in a unit in which effects add up."""

    pitch: float
    """Mean F0, semitones above 100 Hz."""
    span: float
    """log2 of the spread of accents in semitones."""
    slope: float
    """Rise of F0 from the first syllable to the last, semitones."""
    tempo: float
    """log2 of syllables per second."""
    tilt: float
    """Of the spectrum, dB per octave."""
    breath: float
    """Aspiration noise relative to the peak of the pulses, dB."""
    jitter: float
    """log2 of the variation from pulse to pulse in percent."""
    attack: float
    """log2 of the ms in which a vowel gets loud."""
    tract: float
    """log2 of the formants' scale: a short throat, or a smile, raises them all."""


EMOTIONS = {
    "neutral": Voice(0, 0, 0, 0, 0, 0, 0, 0, 0),
    "calm": Voice(-1.5, -0.8, 1.0, -0.3, -3.0, 2, -0.4, 1.2, -0.02),
    "happy": Voice(4.0, 0.9, 2.0, 0.2, 1.5, -2, 0.0, -0.6, 0.13),
    "sad": Voice(-1.0, -1.0, -2.0, -0.4, -3.5, 9, 0.5, 1.5, -0.06),
    "angry": Voice(3.0, 0.6, -2.0, 0.2, 5.0, -8, 1.0, -2.0, -0.02),
    "fearful": Voice(7.0, -0.3, 1.0, 0.45, -0.5, 9, 1.4, -0.5, 0.06),
    "disgust": Voice(-2.0, 0.3, -4.0, -0.2, 1.5, 2, 1.6, 0.4, -0.13),
    "surprised": Voice(8.0, 1.2, 7.0, 0.0, 2.5, 5, 0.0, -1.0, 0.04),
}
"""What each emotion adds to a voice."""
_GENDERS = {
    "male": Voice(2.5, 1.0, -3.0, 2.15, -1.0, -24, 0.0, 5.0, 0.0),
    "female": Voice(12.0, 1.0, -3.0, 2.15, -2.0, -21, 0.0, 5.0, 0.23),
}
_SPEAKER_SD = Voice(1.8, 0.25, 1.0, 0.12, 0.4, 1.0, 0.2, 0.3, 0.03)
_EXPRESSION_SD = Voice(1.0, 0.25, 1.0, 0.07, 1.1, 1.7, 0.25, 0.35, 0.02)
"""Of one speaker's own way with one emotion."""
_CLIP_SD = Voice(0.4, 0.1, 0.5, 0.04, 0.15, 0.5, 0.15, 0.15, 0.004)
_SPEAKER_COLOUR_DB = 2.0
"""Room and microphone, a random curve over the spectrum."""
_EXPRESSION_COLOUR_DB = 3.5
"""How one speaker sets throat and mouth for one emotion."""

_VOWELS_HZ = np.array(
    [[270, 2290, 3010], [530, 1840, 2480], [730, 1090, 2440], [570, 840, 2410], [300, 870, 2240]]
)
"""F1 to F3 of i, e, a, o, u: men's means (Peterson and Barney 1952, table II)."""
_UPPER_FORMANTS_HZ = (3500, 4500)
_CONSONANTS = np.array(
    # noise at Hz, its width in Hz, its gain, after this part of the consonant; voicing, F2 in Hz
    [
        [1000, 1000, 0.000, 0.0, 0.40, 1000],  # m
        [1000, 1000, 0.000, 0.0, 0.40, 1700],  # n
        [1000, 1000, 0.000, 0.0, 0.55, 1200],  # l
        [5500, 1800, 0.025, 0.0, 0.00, 1700],  # s
        [3000, 1400, 0.025, 0.0, 0.00, 1900],  # sh
        [5000, 1800, 0.010, 0.0, 0.30, 1700],  # z
        [4000, 3000, 0.050, 0.8, 0.00, 1700],  # t
        [1900, 900, 0.050, 0.7, 0.00, 2000],  # k
        [900, 1200, 0.050, 0.8, 0.05, 900],  # b
    ]
)
_CLOSED_F1_HZ = 280
_CONSONANT_PART = 0.35
"""Of a syllable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSettings:
    """Size and seed of the corpus; equal settings give equal bytes."""

    num_speakers: int = 18
    """Odd ones are male, even ones female."""
    emotions: tuple[str, ...] = tuple(EMOTIONS)
    num_statements: int = 2
    num_repetitions: int = 2
    seed: int = 0


def synthesise(settings: SyntheticSettings) -> Iterator[tuple[Clip, Int16]]:
    """The whole corpus: measured clips, each with (samples,) int16 mono at 16 kHz, 1.5 to 3 s."""
    for clip in list_clips(settings):
        audio = render(clip, settings.seed)
        yield clip.with_measured(**measure(audio)), audio


def list_clips(settings: SyntheticSettings) -> tuple[Clip, ...]:
    """Clips without audio, by speaker, emotion, statement and repetition."""
    numbers = (settings.num_speakers, settings.num_statements, settings.num_repetitions)
    speakers, statements, repetitions = (range(1, number + 1) for number in numbers)
    clips = []
    for speaker, emotion, text, repetition in product(
        speakers, settings.emotions, statements, repetitions
    ):
        clip_id = f"speaker{speaker:02d}_{emotion}_s{text}_r{repetition}"
        clip = Clip(
            clip_id=clip_id,
            path=f"synthetic://{clip_id}",
            speaker=f"{speaker:02d}",
            gender="male" if speaker % 2 else "female",
            emotion=emotion,
            text=str(text),
            repetition=str(repetition),
            source_sample_rate=SAMPLE_RATE,
            source_channels=1,
            source_format="SYNTHETIC",
        )
        clips.append(clip)
    return tuple(clips)


def render(clip: Clip, seed: int) -> Int16:
    """Audio of a listed clip, (samples,) int16 mono at 16 kHz.

    A pure function of the seed and of who says what, how and which time: any order will do.
    """
    who = _identity(clip)
    rng = _rng(seed, 0, *who, int(clip.text or 0), int(clip.repetition or 0))
    voice = _vary(build_voice(clip, seed), _CLIP_SD, rng)
    score = _compose(voice, int(clip.text or 0), rng)
    colour_db = _rng(seed, 1, who[0]).normal(0, _SPEAKER_COLOUR_DB, NUM_COLOURS)
    colour_db += _rng(seed, 2, *who).normal(0, _EXPRESSION_COLOUR_DB, NUM_COLOURS)
    source, noise = excite(score, 0.01 * 2**voice.jitter, 10 ** (voice.breath / 20), rng)
    waveform = articulate(source, noise, score)
    waveform = equalise(waveform, voice.tilt, colour_db)
    waveform += 0.003 * waveform.std() * rng.standard_normal(len(waveform), dtype=np.float32)
    gain = 10 ** (rng.uniform(-36, -24) / 20) / np.sqrt(np.mean(waveform**2))
    gain = min(gain, 0.99 / np.abs(waveform).max())
    return np.rint(waveform * (gain * FULL_SCALE)).astype(np.int16)


def build_voice(clip: Clip, seed: int) -> Voice:
    """How the clip's speaker talks with its emotion, before the clip's own variation."""
    speaker, emotion = _identity(clip)
    own = _vary(_GENDERS[clip.gender or "male"], _SPEAKER_SD, _rng(seed, 3, speaker))
    expression = EMOTIONS[clip.emotion or "neutral"]
    expression = _vary(expression, _EXPRESSION_SD, _rng(seed, 4, speaker, emotion))
    return Voice(*np.add(own, expression))


def _time_syllables(voice: Voice, rng: np.random.Generator) -> tuple[float, Double, Double]:
    """Length of the clip, and onsets and durations of its syllables, seconds.

    Whoever talks fast says more in the time: tempo doesn't show in the length.
    """
    length, start, end = rng.uniform((1.5, 0.05, 0.05), (2.9, 0.2, 0.2))
    count = max(round((length - start - end) * 2**voice.tempo), 2)
    syllable = np.exp(0.15 * rng.standard_normal(count))
    pause = np.where(np.arange(1, count + 1) % 5 == 0, rng.uniform(0.3, 1.2, count), 0)
    pause[-1] = 0
    scale = (length - start - end) / (syllable + pause).sum()
    onset = start + scale * (np.cumsum(syllable + pause) - syllable - pause)
    return length, onset, scale * syllable


def _compose(voice: Voice, statement: int, rng: np.random.Generator) -> Score:
    """Says as much of the statement as there is time for."""
    length, onset, duration = _time_syllables(voice, rng)
    count = len(onset)
    text = _rng(statement)
    vowel, consonant = (
        text.permuted(np.tile(np.arange(len(sounds)), (24, 1)), axis=1).ravel()[:count]
        for sounds in (_VOWELS_HZ, _CONSONANTS)
    )
    time = (np.arange(int(length * SAMPLE_RATE) // HOP) + 0.5) * HOP / SAMPLE_RATE
    now = np.clip(np.searchsorted(onset, time, side="right") - 1, 0, count - 1)
    place = (time - onset[now]) / duration[now] - _CONSONANT_PART
    said = (place >= -_CONSONANT_PART) & (place < 1 - _CONSONANT_PART)
    in_consonant = said & (place < 0)
    centre, width, gain, begin, voiced, f2 = _CONSONANTS[consonant[now]].T
    noisy = in_consonant & (place >= (begin - 1) * _CONSONANT_PART)
    loudness = np.exp(0.2 * rng.standard_normal(count))[now]
    rise = np.clip(place * duration[now] * 1000 / 2**voice.attack, 0.05, 1)
    voicing = np.where(in_consonant, voiced, loudness * rise) * said

    upper = np.tile(_UPPER_FORMANTS_HZ, (len(time), 1))
    formants = np.hstack([_VOWELS_HZ[vowel[now]], upper]).astype(np.float32)
    formants[in_consonant, 0] = _CLOSED_F1_HZ
    formants[in_consonant, 1] = f2[in_consonant]
    accent = rng.standard_normal(count)
    melody = (accent - accent.mean()) * 2**voice.span + np.linspace(-0.5, 0.5, count) * voice.slope
    return Score(
        uniform_filter1d((voice.pitch + melody)[now], 15, mode="nearest").astype(np.float32),
        uniform_filter1d(voicing, 3).astype(np.float32),
        uniform_filter1d(formants * np.float32(2**voice.tract), 7, axis=0, mode="nearest"),
        np.stack([centre, width, gain * noisy]).astype(np.float32)[:, :, None],
    )


def _identity(clip: Clip) -> tuple[int, int]:
    return int(clip.speaker or 0), list(EMOTIONS).index(clip.emotion or "neutral")


def _vary(voice: Voice, deviation: Voice, rng: np.random.Generator) -> Voice:
    return Voice(*rng.normal(voice, deviation))


def _rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
