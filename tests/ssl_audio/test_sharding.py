"""FSDP2 on the CPU: weights really are cut, and the run is the one of a single process."""

import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from ssl_audio.checkpoint import Checkpoint
from ssl_audio.cli import INTERRUPTED
from ssl_audio.errors import ConfigError
from ssl_audio.session import Session, TrainConfig, start_accelerator
from ssl_audio.sharding import check_is_cut, cut_like, whole
from ssl_audio.train_state import TrainState
from ssl_audio.training import train
from tests.ssl_audio.launching import FSDP2, launch
from tests.ssl_audio.test_processes import OBJECTIVES, arguments, differences, learnt
from tests.ssl_audio.test_training import steps


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_shards_are_one_process(name: str, prepared: Path, tmp_path: Path) -> None:
    own = [f"objective.{item}" for item in OBJECTIVES[name]]
    own += ["train.max_steps=20", "train.save_every=20"]
    alone = launch(
        arguments(prepared, tmp_path / "1", *own, "train.batch_size=8"), tmp_path / "log"
    )
    assert alone.wait() == [0], alone.said()
    sets = [*own, "train.batch_size=4"]
    cut = launch(arguments(prepared, tmp_path / "2", *sets), tmp_path / "log", 2, FSDP2)
    assert cut.wait() == [0, 0], cut.said()
    record = json.loads((tmp_path / "2" / "run.json").read_text())
    assert record["num_processes"] == 2 and record["sharded"]
    apart = differences(tmp_path / "1", tmp_path / "2")
    assert max(apart.values()) < 1e-4, apart


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("decoder", ["transformer", "convolution"])
def test_shards_learn_in_bfloat16_too(decoder: str, prepared: Path, tmp_path: Path) -> None:
    own = [f"objective.{item}" for item in [*OBJECTIVES["latent"], f"decoder.kind={decoder}"]]
    own += ["train.precision=bfloat16", "train.max_steps=8", "train.log_every=8"]
    losses = []
    for count, how in ((1, {}), (2, FSDP2)):
        output = tmp_path / str(count)
        sets = [*own, f"train.batch_size={8 // count}"]
        run = launch(arguments(prepared, output, *sets), tmp_path / "log", count, how)
        assert run.wait() == [0] * count, run.said()
        lines = (output / "metrics.jsonl").read_text().splitlines()
        losses += [line["loss"] for line in map(json.loads, lines) if "loss" in line]
    assert len(losses) == 2 and losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [{}, FSDP2], ids=["whole", "cut"])
def test_two_compiled_processes_are_a_plain_one(
    how: dict[str, str], prepared: Path, tmp_path: Path
) -> None:
    own = [f"objective.{item}" for item in OBJECTIVES["masked"]] + ["train.max_steps=4"]
    log = tmp_path / "log"
    alone = launch(arguments(prepared, tmp_path / "1", *own, "train.batch_size=8"), log)
    assert alone.wait() == [0], alone.said()
    sets = [*own, "train.batch_size=4", "train.compile=true"]
    compiled = launch(arguments(prepared, tmp_path / "2", *sets), log, 2, how)
    assert compiled.wait(600) == [0, 0], compiled.said()
    assert json.loads((tmp_path / "2" / "run.json").read_text())["sharded"] == (how is FSDP2)
    apart = differences(tmp_path / "1", tmp_path / "2")
    assert max(apart.values()) < 1e-4, apart


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sharded_run_that_was_asked_to_stop_resumes_exactly(
    prepared: Path, tmp_path: Path
) -> None:
    own = [f"objective.{item}" for item in OBJECTIVES["latent"]]
    own += ["train.max_steps=10", "train.save_every=4", "train.log_every=1", "train.batch_size=2"]
    log = tmp_path / "log"
    undisturbed = launch(arguments(prepared, tmp_path / "whole", *own), log, 2, FSDP2)
    assert undisturbed.wait() == [0, 0], undisturbed.said()
    output = tmp_path / "run"
    stopped = launch(arguments(prepared, output, *own), log, 2, FSDP2)
    deadline = time.monotonic() + 240
    while not (output / "metrics.jsonl").exists() or max(steps(output), default=0) < 5:
        assert stopped.is_alive() and time.monotonic() < deadline, stopped.said()
        time.sleep(0.01)
    os.kill(stopped.processes[1].pid or 0, signal.SIGTERM)
    assert stopped.wait() == [INTERRUPTED, INTERRUPTED], stopped.said()
    resumed = launch([*arguments(prepared, output, *own), "--resume"], log, 2, FSDP2)
    assert resumed.wait() == [0, 0], resumed.said()
    expected, found = learnt(tmp_path / "whole"), learnt(output)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    again = launch([*arguments(prepared, output, *own), "--resume"], log, 2, FSDP2)
    assert again.wait() == [0, 0], again.said()
    found = learnt(output)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_finished_run_shows_its_twin_the_last_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_audio.training.check_is_cut", lambda module: None)
    learnt_before, module, twin = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)
    state = {"train": asdict(TrainState(step=5))}
    checkpoint = Checkpoint(learnt_before.state_dict(), {}, state)
    session = Session(tmp_path, start_accelerator("float32"), {}, {}, checkpoint)
    groups = [{"params": list(module.parameters()), "lr_scale": 1.0}]
    config = TrainConfig(max_steps=5)
    stream = TensorDataset(torch.zeros(1, 3))
    assert train(module, stream, groups, config, session, "none", twin=twin).step == 5
    assert torch.equal(twin.weight.cpu(), learnt_before.weight)


def test_what_is_cut_is_put_together_again() -> None:
    plain = torch.arange(6.0)
    assert whole(plain) is plain and cut_like(plain, torch.zeros(6)) is plain
    with pytest.raises(ConfigError, match="FSDP2 left 2 weights whole, e.g. weight: use DDP"):
        check_is_cut(nn.Linear(2, 3))
