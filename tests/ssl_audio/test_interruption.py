"""A run that is asked to stop writes a checkpoint, and ends later as if it never had."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from ssl_audio.checkpoint import load_newest
from ssl_audio.cli import INTERRUPTED
from ssl_audio.config import load_config
from ssl_audio.errors import Interrupted
from ssl_audio.metrics_log import MetricsLog
from ssl_audio.objectives.contrastive import ContrastiveObjective
from ssl_audio.pretrain import PretrainConfig, pretrain
from tests.ssl_audio.launching import launch
from tests.ssl_audio.test_training import settings, steps, weights

pytestmark = pytest.mark.usefixtures("small_tiny")

SETS = ["objective.kind=contrastive", "objective.view_seconds=0.4", "watch.every=0"]
SETS += ["train.max_steps=6", "train.save_every=100", "train.log_every=1"]


def sets(prepared: Path, *more: str) -> list[str]:
    shared = [item for item in settings(prepared) if not item.startswith("objective.")]
    return [*shared, *SETS, *more]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_and_nothing_is_lost(
    number: signal.Signals, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(PretrainConfig, None, sets(prepared))
    former = signal.getsignal(number)

    def ask(self: ContrastiveObjective, step: int, max_steps: int) -> None:
        if step == 3:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patched:
        patched.setattr(ContrastiveObjective, "after_step", ask)
        with pytest.raises(Interrupted, match="step 3 written, go on with --resume"):
            pretrain(config, tmp_path / "run")
    assert signal.getsignal(number) is former
    newest = load_newest(tmp_path / "run" / "checkpoints")
    assert newest is not None and newest.state["step"] == 3
    assert not (tmp_path / "run" / "run.json").exists()
    if number == signal.SIGUSR1:
        pretrain(config, tmp_path / "run", resume=True)
        pretrain(config, tmp_path / "undisturbed")
        expected, found = (weights(tmp_path / name) for name in ("undisturbed", "run"))
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_no_process_leaves_before_what_all_of_them_write_is_written(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(PretrainConfig, None, sets(prepared))
    did = []

    def ask(self: ContrastiveObjective, step: int, max_steps: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def close(self: MetricsLog) -> None:
        did.append("closed")

    def wait(self: Accelerator) -> None:
        did.append("waited")

    monkeypatch.setattr(ContrastiveObjective, "after_step", ask)
    monkeypatch.setattr(MetricsLog, "close", close)
    monkeypatch.setattr(Accelerator, "wait_for_everyone", wait)
    with pytest.raises(Interrupted):
        pretrain(config, tmp_path / "run")
    assert did[-2:] == ["closed", "waited"]


def test_training_in_a_thread_leaves_signals_alone(prepared: Path, tmp_path: Path) -> None:
    config = load_config(PretrainConfig, None, sets(prepared, "train.max_steps=1"))
    thread = threading.Thread(target=pretrain, args=(config, tmp_path / "run"))
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "run.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_to_workers_too_writes_a_checkpoint(
    number: signal.Signals, prepared: Path, tmp_path: Path
) -> None:
    """As a scheduler may send it: to every process there is, and more than once."""
    items = sets(prepared, "train.max_steps=30", "train.num_workers=2")
    parts = [part for item in items for part in ("--set", item)]
    output, log = tmp_path / "run", tmp_path / "log"
    command = ["pretrain", *parts, "--output", str(output)]
    launched = launch(command, log)
    deadline = time.monotonic() + 120
    while not (output / "metrics.jsonl").exists() or max(steps(output), default=0) < 2:
        assert launched.is_alive() and time.monotonic() < deadline, launched.said()
        time.sleep(0.01)
    pid = launched.processes[0].pid
    assert pid
    for _ in range(3):
        os.killpg(pid, number)
    # Workers that hear nothing at all would keep it waiting for them.
    assert launched.wait(60) == [INTERRUPTED], launched.said()
    newest = load_newest(output / "checkpoints")
    assert newest is not None and 2 <= newest.state["step"] < 30
    resumed = launch([*command, "--resume"], log)
    assert resumed.wait(120) == [0], resumed.said()
    assert steps(output) == list(range(1, 31))
