"""Small corpora of audio files."""

from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import soundfile as sf

WriteNoise = Callable[..., Path]


@pytest.fixture
def write_noise() -> WriteNoise:
    """Writes a short file of noise that depends on the file's name (or ``seed``) alone."""

    def write(
        path: Path,
        seconds: float = 0.05,
        sample_rate: int = 16_000,
        channels: int = 1,
        seed: str | None = None,
        **options: str,
    ) -> Path:
        rng = np.random.default_rng(crc32((seed or path.stem).encode()))
        shape = (round(seconds * sample_rate), channels)
        samples = 0.1 * rng.standard_normal(shape)
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, samples, sample_rate, **options)
        return path

    return write


@pytest.fixture
def ravdess_names() -> Callable[..., Iterable[str]]:
    """Published names: every emotion of some actors, one statement, one repetition."""

    def names(actors: Iterable[int], channel: str = "01") -> list[str]:
        return [
            f"03-{channel}-{emotion:02d}-01-01-01-{actor:02d}"
            for actor in actors
            for emotion in range(1, 9)
        ]

    return names
