"""``throughput predict``: from files on disk to answers, beside what a user would write instead.

Every way starts from the same files and a folder with a classifier, loads it, and ends with a
probability per class for each file. They take turns, round by round, so that what the machine does
meanwhile meets all of them alike; each is warmed up by a round that does not count.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile as sf
import soxr
import torch
from transformers import pipeline
from transformers.utils import logging as transformers_logging

import finetune.auto  # noqa: F401  lets a pipeline know our classifier
from benchmarks.memory import PeakMemory
from benchmarks.throughput.recordings import render_samples
from finetune.decoding import decode_file
from finetune.evaluate import load_classifier
from finetune.inputs import find_inputs
from finetune.jury import Jury
from finetune.model import AudioClassifier, AudioClassifierConfig
from finetune.predict import predict
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.synthetic import EMOTIONS
from ssl_audio.encoder import AudioEncoderFeatureExtractor
from ssl_audio.encoder_config import SIZES, AudioEncoderConfig, Size
from ssl_audio.errors import UserError
from ssl_audio.progress import progress_bar
from ssl_audio.run_record import git_commit, processor_name

Floats = npt.NDArray[np.float64]
Way = Callable[[], Floats]

OURS = "python -m finetune predict"
TIMELINE = f"{OURS} --format timeline"
BARS: dict[Size, float] = {"tiny": 0.01, "small": 0.03}
"""Real-time factors that are promised on two cores."""
CLASSES = tuple(EMOTIONS)
NOTHING: Floats = np.zeros((0, len(CLASSES)))
"""No answer that could differ from ours."""
_SHORTEST, _LONGEST = 2.0, 5.0
"""Seconds of the files that are made up."""
_MP3_RATE = 44_100


@dataclass(frozen=True)
class Row:
    """How fast one way is; factors are medians over rounds, with the fastest and slowest.

    Attributes:
        size: of the encoder.
        way: from files to answers.
        real_time_factor: seconds of wall time for each second of audio.
        fastest, slowest: the same, of single rounds.
        processor_factor: seconds of all threads for each second of audio, the median.
        peak_mebibytes: the most of a round above what was resident before it.
        difference: largest of its probabilities from those of ours; 0 where it gives none.
    """

    size: Size
    way: str
    real_time_factor: float
    fastest: float
    slowest: float
    processor_factor: float
    peak_mebibytes: float
    difference: float


@dataclass(frozen=True)
class Report:
    """Every way with every size.

    Attributes:
        audio: what was listened to.
        num_files: of them that can be read.
        audio_seconds: of them together.
        threads: of torch.
        device: that ours computes on.
        rounds: that counted.
        start_seconds: of the command itself, imports included, for a single file.
        load_average: of the machine before; others' work makes everything here slower.
        rows: of each size.
    """

    audio: str
    num_files: int
    audio_seconds: float
    threads: int
    device: str
    rounds: int
    start_seconds: float
    load_average: float
    rows: tuple[Row, ...]
    processor: str = field(default_factory=processor_name)
    git_commit: str | None = field(default_factory=git_commit)

    def describe(self) -> str:
        """A table for the terminal."""
        lines = [
            f"{self.audio}: {self.num_files} files, {self.audio_seconds:.0f} s of audio; "
            f"{self.threads} threads, {self.rounds} rounds; seconds for a second of audio",
            f"{'way':<49}{'median':>9}{'fastest':>9}{'slowest':>9}{'processor':>11}{'MiB':>7}"
            f"{'differs':>10}",
        ]
        lines += [
            f"{f'{row.size}: {row.way}':<49}{row.real_time_factor:>9.5f}{row.fastest:>9.5f}"
            f"{row.slowest:>9.5f}{row.processor_factor:>11.5f}{row.peak_mebibytes:>7.0f}"
            f"{row.difference:>10.1e}"
            for row in self.rows
        ]
        for row in self.rows:
            promised = row.way in (OURS, TIMELINE) and row.size in BARS
            if promised and self.threads == 2 and self.device == "cpu":
                met = "met" if row.real_time_factor <= BARS[row.size] else "MISSED"
                bar = f"the bar of {BARS[row.size]} on 2 cores is {met}"
                lines.append(f"{row.size}: {bar} by {row.way}")
        lines.append(
            f"the command takes {self.start_seconds:.1f} s for a single file; load average of the "
            f"machine before: {self.load_average:.1f}"
        )
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """Writes every figure as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def measure_predicting(
    folder: Path | None, num_files: int, sizes: Sequence[str], rounds: int
) -> Report:
    """Times every way on the same files.

    Args:
        folder: of audio files, of which some are chosen evenly; None makes files of synthetic
            speech.
        num_files: how many.
        sizes: of encoders; their weights are random, which costs as much as trained ones.
        rounds: that count.

    Raises:
        UserError: no such size, or no audio in the folder that can be read.
    """
    git_commit()  # remembered as it is now
    if odd := sorted(set(sizes) - SIZES.keys()):
        raise UserError(f"--size {odd[0]}: choose {', '.join(SIZES)}")
    chosen = [size for size in SIZES if size in sizes]
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        paths = choose_files(folder or write_clips(work / "audio", num_files), num_files)
        clips = {path: read for path in paths if (read := _read(path)) is not None}
        if not clips:
            raise UserError(f"{folder}: none of {len(paths)} files can be read")
        audio_seconds = sum(map(len, clips.values())) / SAMPLE_RATE
        rows: list[Row] = []
        for size in chosen:
            model = write_model(work / size, size)
            ways = list_ways(list(clips), list(clips.values()), model, work / "answers.csv")
            rows += _time(size, ways, audio_seconds, rounds)
        start_seconds = time_command(next(iter(clips)), work / chosen[0], work / "answers.csv")
    return Report(
        audio=folder.name if folder else "synthetic speech",
        num_files=len(clips),
        audio_seconds=audio_seconds,
        threads=torch.get_num_threads(),
        device="cuda" if torch.cuda.is_available() else "cpu",
        rounds=rounds,
        start_seconds=start_seconds,
        load_average=load_average,
        rows=tuple(rows),
    )


def list_ways(
    paths: Sequence[Path], clips: Sequence[npt.NDArray[np.int16]], model: Path, output: Path
) -> dict[str, Way]:
    """Ours, its two halves by themselves, and what a user would write.

    Args:
        paths: of files that can all be read.
        clips: their audio, for the half that hears it from memory.
        model: folder of a classifier.
        output: CSV file.
    """

    def ours() -> Floats:
        with redirect_stdout(io.StringIO()):
            predict(paths, [model], output)
        return pd.read_csv(output)[list(CLASSES)].to_numpy(np.float64)

    def tell_when() -> Floats:
        with redirect_stdout(io.StringIO()):
            predict(paths, [model], output, "timeline")
        return NOTHING

    def decode() -> Floats:
        for path in paths:
            _read(path)
        return NOTHING

    def load(path: Path) -> npt.NDArray[np.float32]:
        return librosa.load(path, sr=SAMPLE_RATE)[0]

    @torch.no_grad()
    def loop() -> Floats:
        classifier = load_classifier(model)
        waveforms = (torch.from_numpy(load(path))[None] for path in paths)
        answers = (classifier.probabilities(w.to(classifier.device)) for w in waveforms)
        return np.array([answer[0].cpu().numpy() for answer in answers])

    def piped() -> Floats:
        pipe: Any = pipeline("audio-classification", model=str(model), device="cpu")
        found = pipe((load(path) for path in paths), batch_size=1)
        shares = [{item["label"]: item["score"] for item in answer} for answer in found]
        return np.array([[share[name] for name in CLASSES] for share in shares])

    return {
        OURS: ours,
        TIMELINE: tell_when,
        "  its files decoded by one thread": decode,
        "  its model on decoded files": lambda: Jury.load([model]).probabilities(clips),
        "librosa and the model, one by one": loop,
        "librosa and transformers' pipeline": piped,
    }


def choose_files(folder: Path, num_files: int) -> list[Path]:
    """So many files of a folder, evenly; all if there are fewer."""
    paths = [file.path for file in find_inputs([folder])[0]]
    chosen = np.linspace(0, len(paths) - 1, min(num_files, len(paths))).round().astype(int)
    return [paths[place] for place in chosen]


def write_clips(folder: Path, num_files: int) -> Path:
    """Files of 2 to 5 s of synthetic speech, mp3 (44.1 kHz stereo) and wav (16 kHz) in turn."""
    folder.mkdir()
    speech = np.concatenate(render_samples())
    rng = np.random.default_rng(0)
    for number in range(num_files):
        length = round(rng.uniform(_SHORTEST, _LONGEST) * SAMPLE_RATE)
        start = rng.integers(len(speech) - length)
        clip = speech[start : start + length]
        if number % 2:
            sf.write(folder / f"{number:05d}.wav", clip, SAMPLE_RATE)
        else:
            mono = soxr.resample(clip / np.float32(32_768), SAMPLE_RATE, _MP3_RATE)
            sf.write(folder / f"{number:05d}.mp3", np.stack([mono, mono], axis=1), _MP3_RATE)
    return folder


def write_model(folder: Path, size: Size) -> Path:
    """A classifier with random weights."""
    transformers_logging.disable_progress_bar()
    torch.manual_seed(0)
    shape = AudioEncoderConfig.of_size(size)
    AudioClassifier(
        AudioClassifierConfig(encoder_config=shape, classes=list(CLASSES))
    ).save_pretrained(folder)
    AudioEncoderFeatureExtractor(SAMPLE_RATE).save_pretrained(folder)
    return folder


def _read(path: Path) -> npt.NDArray[np.int16] | None:
    return decode_file(find_inputs([path])[0][0]).samples


def _time(size: Size, ways: dict[str, Way], audio_seconds: float, rounds: int) -> list[Row]:
    walls: dict[str, list[float]] = {name: [] for name in ways}
    processors: dict[str, list[float]] = {name: [] for name in ways}
    peaks = dict.fromkeys(ways, 0.0)
    answers: dict[str, Floats] = {}
    with progress_bar((rounds + 1) * len(ways), f"predict, {size}", "run") as bar:
        for number in range(rounds + 1):
            for name, way in ways.items():
                with PeakMemory(torch.device("cpu")) as peak:
                    wall, processor = time.perf_counter(), time.process_time()
                    answers[name] = way()
                    wall, processor = time.perf_counter() - wall, time.process_time() - processor
                if number:  # the first round warms up
                    walls[name].append(wall)
                    processors[name].append(processor)
                    peaks[name] = max(peaks[name], peak.mebibytes)
                bar.update()
    return [
        Row(
            size=size,
            way=name,
            real_time_factor=float(np.median(walls[name])) / audio_seconds,
            fastest=min(walls[name]) / audio_seconds,
            slowest=max(walls[name]) / audio_seconds,
            processor_factor=float(np.median(processors[name])) / audio_seconds,
            peak_mebibytes=peaks[name],
            difference=_difference(found, answers[OURS]),
        )
        for name, found in answers.items()
    ]


def _difference(found: Floats, ours: Floats) -> float:
    return float(np.abs(found - ours).max()) if len(found) else 0.0


def time_command(file: Path, model: Path, output: Path) -> float:
    """Seconds of the whole command for one file."""
    command = (sys.executable, "-m", "finetune", "predict", str(file))
    started = time.perf_counter()
    subprocess.run(
        (*command, "--model", str(model), "--output", str(output)),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started
