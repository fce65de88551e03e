"""What torchrun and accelerate start, and what becomes of a signal to them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from ssl_audio.checkpoint import load_newest
from tests.ssl_audio.launching import free_port
from tests.ssl_audio.test_processes import OBJECTIVES, arguments, learnt
from tests.ssl_audio.test_training import steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OWN = [f"objective.{item}" for item in OBJECTIVES["masked"]] + ["train.batch_size=4"]
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc_per_node=2"],
    "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_processes=2"],
}
ON_CPU = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


@contextmanager
def start(launcher: str, arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    module, *options = LAUNCHERS[launcher]
    port = "--master_port" if launcher == "torchrun" else "--main_process_port"
    command = [sys.executable, "-m", module, *options, f"{port}={free_port()}", "-m", "ssl_audio"]
    with log.open("ab") as file:
        started = subprocess.Popen(
            [*command, *arguments],
            stdout=file,
            stderr=file,
            env={**os.environ, **ON_CPU},
            start_new_session=True,
        )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_that_is_asked_to_stop_leaves_a_checkpoint_to_go_on_from(
    launcher: str, prepared: Path, tmp_path: Path
) -> None:
    own = [*OWN, "train.max_steps=200", "train.save_every=1000", "train.log_every=1"]
    log, output = tmp_path / "log", tmp_path / "run"
    with start(launcher, arguments(prepared, output, *own), log) as stopped:
        deadline = time.monotonic() + 240
        while not (output / "metrics.jsonl").exists() or max(steps(output), default=0) < 5:
            assert stopped.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(120) != 0
    newest = load_newest(output / "checkpoints")
    assert newest is not None and 5 <= newest.state["step"] < 200, log.read_text()
    with start(launcher, [*arguments(prepared, output, *own), "--resume"], log) as again:
        assert again.wait(300) == 0, log.read_text()
    assert json.loads((output / "run.json").read_text())["num_processes"] == 2
    with start(launcher, arguments(prepared, tmp_path / "whole", *own), log) as whole:
        assert whole.wait(300) == 0, log.read_text()
    expected, found = learnt(tmp_path / "whole"), learnt(output)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
