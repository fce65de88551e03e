"""Pretraining from shards kept elsewhere: the same clips, and the same run after a stop."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ssl_audio.config import load_config
from ssl_audio.data.manifest import read_manifest
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.data.stream import StepSampler, build_loader
from ssl_audio.draws import draw_keys
from ssl_audio.errors import ConfigError, UserError
from ssl_audio.pool import PoolConfig, open_pool
from ssl_audio.pretrain import PretrainConfig, pretrain
from ssl_audio.run_record import SEEN_CLIPS
from tests.ssl_audio.launching import launch

SMALL = [
    "data.crop_seconds=0.6",
    "objective.decoder.layers=1",
    "train.batch_size=5",
    "train.max_steps=12",
    "train.warmup_steps=2",
    "train.save_every=3",
    "train.log_every=3",
    "train.precision=float32",
    "train.attention=eager",
]


@pytest.fixture(scope="module")
def kept(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips of the prepared corpus in many shards, as they may lie in a bucket."""
    corpus = PreparedCorpus.load(prepared)
    root = tmp_path_factory.mktemp("kept")
    write_corpus(root, "synthetic", zip(corpus.clips, corpus.views, strict=True), 2**18)
    assert len(list(root.glob("data-*.arrow"))) > 5
    return root


def configure(kept: Path, *more: str) -> PretrainConfig:
    return load_config(PretrainConfig, None, [f"data.corpus=file://{kept}", *SMALL, *more])


def read(config: PretrainConfig, first_step: int, count: int) -> list[tuple[list[int], bytes]]:
    """Keys and audio of some batches of the only process."""
    train = config.train
    stream = open_pool(config.data).stream(train, 0, 1, with_background=False)
    sampler = StepSampler(train.batch_size, train.accumulation, first_step, 99, 0, 1)
    batches = islice(build_loader(stream, sampler, train.num_workers), count)
    return [(batch["keys"].tolist(), batch["waveform"].numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize(("first_step", "accumulation"), [(1, 1), (4, 2), (11, 1), (12, 1)])
def test_a_stream_goes_on_where_it_stopped(
    kept: Path, num_workers: int, first_step: int, accumulation: int
) -> None:
    workers = f"train.num_workers={num_workers}"
    config = configure(kept, workers, f"train.accumulation={accumulation}")
    first_batch = first_step * accumulation
    whole = read(config, 0, first_batch + 6)
    assert len({tuple(keys) for keys, _ in whole}) == len(whole)
    assert read(config, first_step, 6) == whole[first_batch:]


def test_only_what_is_still_to_come_is_read(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(kept)
    pool = open_pool(config.data)
    stream = pool.stream(config.train, 0, 1, with_background=False)
    stream.buffer_size = 4
    opened = []
    read_shard = type(pool.source).read_shard
    monkeypatch.setattr(
        type(pool.source),
        "read_shard",
        lambda self, number: opened.append(number) or read_shard(self, number),
    )
    num_clips = len(pool.clips)
    list(islice(iter(stream.starting_at((num_clips - 5) // 5)), 1))
    assert len(opened) <= 5 and len(pool.source.shards) == 16


def test_each_process_has_its_own_clips(kept: Path) -> None:
    """Two processes have every clip once in a pass, between them."""
    config = configure(kept)
    pool = open_pool(config.data)
    clips = torch.arange(len(pool.clips))
    keys = set(draw_keys(config.train.seed, torch.zeros_like(clips), clips).tolist())
    seen: Counter[int] = Counter()
    for process in range(2):
        stream = pool.stream(config.train, process, 2, with_background=False)
        stream.batch_size = 1
        first = {}
        for batch in islice(stream, 3 * len(pool.clips)):
            first.setdefault(batch["clip_indices"].item(), batch["keys"].item())
        seen.update(clip for clip, key in first.items() if key in keys)
    assert seen == Counter(range(len(pool.clips)))


def test_an_hour_is_measured_from_shards_spread_over_the_corpus(kept: Path) -> None:
    source = open_pool(PoolConfig(corpus=f"file://{kept}")).source
    positions = {clip.clip_id: place for place, clip in enumerate(source.clips)}
    half = source.num_samples.sum() / 16_000 / 3600 / 2
    some = source.gather(np.arange(3, len(source)), half)
    local = PreparedCorpus.load(kept)
    for clip, view, length in zip(some.clips, some.views, some.num_samples, strict=True):
        np.testing.assert_array_equal(view, local.views[positions[clip.clip_id]])
        assert len(view) == length
    places = [positions[clip.clip_id] for clip in some.clips]
    assert min(places) >= 3 and max(places) >= source.firsts[-2]
    assert 0.9 * half < some.num_samples.sum() / 16_000 / 3600 < 1.5 * half
    assert len(source.gather(np.arange(len(source)), 1.0)) == len(source)


def test_no_shard_is_opened_once_the_hour_is_full(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_pool(PoolConfig(corpus=f"file://{kept}")).source
    opened: list[int] = []
    read_shard = type(source).read_shard
    monkeypatch.setattr(
        type(source),
        "read_shard",
        lambda self, number: opened.append(number) or read_shard(self, number),
    )
    tenth = source.num_samples.sum() / 16_000 / 3600 / 10
    some = source.gather(np.arange(len(source)), tenth)
    assert some.num_samples.sum() / 16_000 / 3600 >= tenth
    assert len(opened) <= 8 < len(source.shards)


def test_backgrounds_come_from_the_same_batch(kept: Path) -> None:
    config = configure(kept)
    batch = next(iter(open_pool(config.data).stream(config.train, 0, 1, with_background=True)))
    assert torch.equal(batch["background"][1:], batch["waveform"][:-1])
    assert torch.equal(batch["background_samples"][1:], batch["num_samples"][:-1])


def test_where_a_clip_comes_twice_its_background_is_another(kept: Path) -> None:
    """Two clips in batches of three: a pass ends within a batch."""
    config = configure(kept, "train.batch_size=3")
    stream = open_pool(config.data).stream(config.train, 0, 1, with_background=True)
    stream.indices = np.array([4, 9])
    for batch in islice(stream, 20):
        clips = batch["clip_indices"]
        for clip, background in zip(clips, batch["background"], strict=True):
            (other,) = clips[(batch["waveform"] == background).all(1)].unique()
            assert other != clip


@pytest.mark.slow
def test_killed_and_resumed_ends_in_the_same_weights(kept: Path, tmp_path: Path) -> None:
    def start(output: Path, *more: str):
        given = [f"data.corpus=file://{kept}", *SMALL, "train.num_workers=2"]
        arguments = [part for item in given for part in ("--set", item)]
        return launch(["pretrain", *arguments, "--output", str(output), *more], tmp_path / "log")

    undisturbed, killed = start(tmp_path / "undisturbed"), start(tmp_path / "killed")
    while not (tmp_path / "killed/checkpoints/step-00000006").exists():
        assert killed.is_alive()
    killed.kill()
    assert start(tmp_path / "killed", "--resume").wait() == undisturbed.wait() == [0]
    expected, resumed = (
        load_file(tmp_path / name / "model.safetensors") for name in ("undisturbed", "killed")
    )
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    seen = read_manifest(tmp_path / "killed" / SEEN_CLIPS)
    assert seen == list(PreparedCorpus.load(kept).clips)
    record = json.loads((tmp_path / "killed/run.json").read_text())
    assert record["pretraining_data"] == "synthetic"
    with pytest.raises(UserError, match="already holds a run"):
        pretrain(configure(kept), tmp_path / "killed")


def test_other_readers_are_another_run(kept: Path, tmp_path: Path) -> None:
    config = configure(kept, "train.max_steps=3")
    pretrain(config, tmp_path / "run")
    more = configure(kept, "train.max_steps=3", "train.num_workers=2")
    with pytest.raises(UserError, match="1 readers a process.*2 readers a process"):
        pretrain(more, tmp_path / "run", resume=True)


def test_folds_need_a_folder(kept: Path) -> None:
    config = PoolConfig(corpus=f"file://{kept}", folds="synthetic-3/speakers6")
    with pytest.raises(ConfigError, match="prepared folder of this machine"):
        open_pool(config)


def test_paths_stay_paths(kept: Path) -> None:
    assert PoolConfig(corpus=str(kept)).corpus == kept
    assert PoolConfig(corpus="s3://bucket/corpus").corpus == "s3://bucket/corpus"
