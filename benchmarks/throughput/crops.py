"""``throughput data``: random crops from a prepared corpus, beside memcpy and what others would do.

Everything runs in one thread and is timed in processor seconds, so what else the machine does
matters little. Every way delivers batches of the same crops of the same clips.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
import torch

from benchmarks.throughput.recordings import BLOCK_SECONDS, render_samples
from ssl_audio.data.audio import measure
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.data.stream import CropStream

Int16 = npt.NDArray[np.int16]

SEED = 0
MOST_ENCODED = 512
"""Clips that are written as FLAC to be read again."""
ROUNDS = 5
_COPIED_BYTES = 2**28
"""That memcpy goes through, more than any cache holds."""


@dataclass(frozen=True)
class Speed:
    """How fast one way delivers crops."""

    way: str
    audio_seconds_per_second: float
    """Of crops, padding left out, per processor second: the median of some rounds."""
    slowest: float
    fastest: float
    """Of the rounds."""


@dataclass(frozen=True)
class CropsReport:
    """Every way on one corpus."""

    corpus: str
    audio_hours: float
    num_clips: int
    batch_size: int
    crop_seconds: float
    speeds: tuple[Speed, ...]

    def describe(self) -> str:
        """A table for the terminal."""
        lines = [
            f"{self.corpus}: {self.num_clips} clips, {self.audio_hours:.2f} h; batches of "
            f"{self.batch_size} crops of {self.crop_seconds:g} s, one thread",
            f"{'audio-seconds per processor second':>44}  {'slowest':>10}  {'fastest':>10}",
        ]
        lines += [
            f"{speed.way:<32}{speed.audio_seconds_per_second:>12,.0f}"
            f"  {speed.slowest:>10,.0f}  {speed.fastest:>10,.0f}"
            for speed in self.speeds
        ]
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """Writes every figure as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def measure_crops(
    corpus: PreparedCorpus, batch_size: int, crop_seconds: float, round_seconds: float
) -> CropsReport:
    """Times every way on one corpus; each one is warmed up by a round that does not count.

    Args:
        corpus: prepared.
        batch_size: crops of a batch.
        crop_seconds: length of a crop.
        round_seconds: processor seconds of each round.
    """
    torch.set_num_threads(1)
    stream = CropStream(corpus, np.arange(len(corpus)), SEED, crop_seconds)
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[npt.NDArray[np.int64]], int]] = {
            "memcpy of as many bytes": _build_memcpy(batch_size, stream),
            "CropStream": lambda draws: int(
                stream.__getitems__(draws.tolist())["num_samples"].sum()
            ),
            "datasets: row, then crop": _build_datasets(stream),
            "soundfile: FLAC, then crop": _build_soundfile(stream, Path(folder)),
        }
        speeds = tuple(_time(way, f, batch_size, round_seconds) for way, f in ways.items())
    return CropsReport(
        corpus=corpus.name,
        audio_hours=float(corpus.num_samples.sum()) / SAMPLE_RATE / 3600,
        num_clips=len(corpus),
        batch_size=batch_size,
        crop_seconds=crop_seconds,
        speeds=speeds,
    )


def write_long_corpus(folder: Path, hours: float) -> PreparedCorpus:
    """A prepared corpus of synthetic speech in clips of 30 s, each another stretch of it."""
    blocks = render_samples()
    folder.mkdir(parents=True)

    def clips() -> Iterator[tuple[Clip, Int16]]:
        for number in range(-int(-hours * 3600 // BLOCK_SECONDS)):
            audio = np.roll(blocks[number % len(blocks)], 37 * number)
            yield Clip(clip_id=f"{number:06d}", path="", **measure(audio)), audio  # type: ignore[arg-type]

    write_corpus(folder, "generated", clips())
    return PreparedCorpus.load(folder)


def _time(
    way: str,
    deliver: Callable[[npt.NDArray[np.int64]], int],
    batch_size: int,
    round_seconds: float,
) -> Speed:
    """Times rounds of whole batches; the draws go on from round to round."""
    first = 0
    rates = []
    for _ in range(1 + ROUNDS):
        num_samples, start = 0, time.process_time()
        while (spent := time.process_time() - start) < round_seconds:
            num_samples += deliver(np.arange(first, first + batch_size))
            first += batch_size
        rates.append(num_samples / SAMPLE_RATE / spent)
    counted = rates[1:]
    return Speed(way, float(np.median(counted)), min(counted), max(counted))


def _crop_samples(stream: CropStream) -> int:
    assert stream.crop_seconds is not None  # whole clips are not what is timed here
    return round(stream.crop_seconds * SAMPLE_RATE)


def _build_memcpy(batch_size: int, stream: CropStream) -> Callable[[npt.NDArray[np.int64]], int]:
    crop = _crop_samples(stream)
    num_batches = max(_COPIED_BYTES // (2 * batch_size * crop), 1)
    source = np.ones((num_batches, batch_size, crop), np.int16)

    def deliver(draws: npt.NDArray[np.int64]) -> int:
        return source[draws[0] // batch_size % num_batches].copy().size

    return deliver


def _build_datasets(stream: CropStream) -> Callable[[npt.NDArray[np.int64]], int]:
    """A row of the same shards by ``datasets``, in the fastest format that it has for arrays."""
    import datasets

    rows = datasets.load_from_disk(str(stream.corpus.root)).with_format("numpy")
    return _build_by_clip(stream, lambda clip: rows[clip]["audio"])


def _build_soundfile(stream: CropStream, folder: Path) -> Callable[[npt.NDArray[np.int64]], int]:
    """A FLAC file of each clip, decoded whole as a loader does that knows nothing of crops."""
    num_clips = min(len(stream.corpus), MOST_ENCODED)
    for clip in range(num_clips):
        sf.write(folder / f"{clip}.flac", stream.corpus.views[clip], SAMPLE_RATE)
    some = CropStream(stream.corpus, np.arange(num_clips), SEED, stream.crop_seconds)
    return _build_by_clip(some, lambda clip: sf.read(folder / f"{clip}.flac", dtype="int16")[0])


def _build_by_clip(
    stream: CropStream, load: Callable[[int], Int16]
) -> Callable[[npt.NDArray[np.int64]], int]:
    """Whole clips, cropped afterwards at random."""
    crop = _crop_samples(stream)
    chance = np.random.default_rng(SEED)

    def deliver(draws: npt.NDArray[np.int64]) -> int:
        waveform = np.zeros((len(draws), crop), np.int16)
        num_samples = 0
        for row, clip in zip(waveform, chance.choice(stream.indices, len(draws)), strict=True):
            audio = load(int(clip))
            start = int(chance.integers(max(len(audio) - crop, 0) + 1))
            part = audio[start : start + crop]
            row[: len(part)] = part
            num_samples += len(part)
        return num_samples

    return deliver
