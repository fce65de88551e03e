import hashlib
from pathlib import Path

import numpy as np
import pytest

from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus, folds_path, write_corpus

TONES = "tones-3/speakers3"
PITCHES_HZ = {"high": 1600, "low": 200, "mid": 600}
SPEAKERS = ("a", "b", "c", "d", "e", "f")


def tone(speaker: str, emotion: str, take: int):
    """A third of a second whose pitch is its class; the speaker moves it a little."""
    rng = np.random.default_rng([SPEAKERS.index(speaker), PITCHES_HZ[emotion], take])
    time = np.arange(5400 + 100 * take) / 16_000
    pitch = PITCHES_HZ[emotion] * (1 + 0.02 * SPEAKERS.index(speaker))
    wave = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.02 * rng.standard_normal(len(time))
    return np.round(wave * 32767).astype(np.int16)


@pytest.fixture(scope="session")
def tones(tmp_path_factory) -> Path:
    """A prepared corpus of 72 tones and its speaker-disjoint folds."""
    root = tmp_path_factory.mktemp("tones")
    (root / "folds").mkdir()
    clips = []
    for speaker in SPEAKERS:
        for emotion in PITCHES_HZ:
            for take in range(4):
                audio = tone(speaker, emotion, take)
                clip = Clip(
                    clip_id=f"{speaker}-{emotion}-{take}",
                    path=f"{speaker}/{emotion}-{take}.wav",
                    speaker=speaker,
                    gender="male" if speaker in "bdf" else "female",
                    emotion=emotion,
                    num_samples=len(audio),
                    audio_sha256=hashlib.sha256(audio.tobytes()).hexdigest(),
                )
                clips.append((clip, audio))
    write_corpus(root, "tones", clips)

    def ids(speakers: str) -> tuple[str, ...]:
        return tuple(sorted(clip.clip_id for clip, _ in clips if clip.speaker in speakers))

    parts = [("cdef", "ab"), ("abef", "cd"), ("abcd", "ef")]
    folds = tuple(
        Fold(number, ids(rest[2:]), ids(rest[:2]), ids(test))
        for number, (rest, test) in enumerate(parts, 1)
    )
    Folds(TONES, tuple(PITCHES_HZ), folds).save(folds_path(root, TONES))
    return root


@pytest.fixture
def tone_corpus(tones) -> PreparedCorpus:
    return PreparedCorpus.load(tones)
