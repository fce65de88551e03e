import multiprocessing
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import (
    BackgroundStream,
    CropStream,
    StepSampler,
    build_loader,
    whole_clips,
)
from ssl_audio.stop_signals import STOP_SIGNALS


def open_stream(prepared: Path, seed: int = 0, crop_seconds: float = 1.0) -> CropStream:
    corpus = PreparedCorpus.load(prepared)
    return CropStream(corpus, np.arange(3, len(corpus)), seed, crop_seconds)


def collect(stream: CropStream, num_workers: int, processes: int, batch: int) -> list[tuple]:
    """Every draw of four steps as (step, clip, audio), whichever process made it."""
    rows = []
    for process in range(processes):
        sampler = StepSampler(batch, 1, 2, 6, process, processes)
        for step, drawn in enumerate(build_loader(stream, sampler, num_workers)):
            audio = [bytes(row.numpy().tobytes()) for row in drawn["waveform"]]
            keys = drawn["keys"].tolist()
            rows += [(step, *row) for row in zip(keys, audio, strict=True)]
    return sorted(rows)


def test_same_stream_for_any_number_of_workers_and_processes(prepared: Path) -> None:
    stream = open_stream(prepared)
    reference = collect(stream, 0, 1, 12)
    assert len(reference) == 48
    assert collect(stream, 2, 1, 12) == reference
    assert collect(stream, 0, 2, 6) == reference
    assert collect(stream, 0, 4, 3) == reference
    assert collect(open_stream(prepared, seed=1), 0, 1, 12) != reference


def test_each_pass_sees_every_clip_once_in_a_new_order(prepared: Path) -> None:
    stream = open_stream(prepared)
    n = len(stream.indices)
    passes = [
        stream.__getitems__(range(p * n, (p + 1) * n))["clip_indices"].tolist() for p in (0, 1)
    ]
    assert sorted(passes[0]) == sorted(passes[1]) == stream.indices.tolist()
    assert passes[0] != passes[1]


def test_crops_lie_inside_their_clip_and_move(prepared: Path) -> None:
    stream = open_stream(prepared, crop_seconds=0.8)
    n = len(stream.indices)
    starts: dict[int, set[int]] = {}
    for pass_number in range(5):
        batch = stream.__getitems__(range(pass_number * n, (pass_number + 1) * n))
        assert batch["waveform"].dtype == torch.int16
        for clip, row in zip(batch["clip_indices"].tolist(), batch["waveform"], strict=True):
            whole = stream.corpus.views[clip]
            found = whole.tobytes().find(row.numpy().tobytes())
            assert found >= 0
            starts.setdefault(clip, set()).add(found)
    assert np.mean([len(places) for places in starts.values()]) > 4


def test_short_clips_are_padded_at_their_end(prepared: Path) -> None:
    stream = open_stream(prepared, crop_seconds=60.0)
    batch = stream.__getitems__([0])
    length = int(batch["num_samples"][0])
    whole = stream.corpus.views[int(batch["clip_indices"][0])]
    assert length == len(whole) and np.array_equal(batch["waveform"][0, :length].numpy(), whole)
    assert not batch["waveform"][0, length:].any()


def test_whole_clips_come_once_longest_first(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    wanted = np.arange(5, 30)
    seen, lengths = [], []
    for clips, waveform, num_samples in whole_clips(corpus, wanted, 4):
        assert waveform.shape == (len(clips), int(num_samples.max()))
        seen += clips.tolist()
        lengths += num_samples.tolist()
    assert sorted(seen) == wanted.tolist()
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_workers_end_by_a_stop_signal_of_the_main_process_alone(
    number: signal.Signals, prepared: Path
) -> None:
    others = set(multiprocessing.active_children())
    batches = iter(build_loader(open_stream(prepared), StepSampler(2, 1, 0, 99, 0, 1), 1))
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - others
    subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=True)
    for _ in range(10):
        next(batches)
    # As torch does where an error keeps the loader alive.
    os.kill(worker.pid or 0, number)
    worker.join(10)
    assert worker.exitcode == 0


def test_a_clip_is_never_its_own_background(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    indices = np.array([3, 7, 20, 41])
    stream = BackgroundStream(corpus, indices, 0, 0.3)
    batch = stream.__getitems__(range(1200))
    found: Counter[tuple[int, int]] = Counter()
    sounds = {clip: corpus.views[clip].tobytes() for clip in indices.tolist()}
    for clip, row in zip(batch["clip_indices"].tolist(), batch["background"].numpy(), strict=True):
        of = [other for other, sound in sounds.items() if row.tobytes() in sound]
        found[(clip, *of)] += 1
    assert set(found) == {(one, other) for one in sounds for other in sounds if one != other}
    assert min(found.values()) > 70 and max(found.values()) < 130


def test_an_only_clip_is_its_own_background(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    batch = BackgroundStream(corpus, np.array([5]), 0, 0.3).__getitems__(range(20))
    whole = corpus.views[5].tobytes()
    assert all(row.numpy().tobytes() in whole for row in batch["background"])
    assert not torch.equal(batch["background"], batch["waveform"])
