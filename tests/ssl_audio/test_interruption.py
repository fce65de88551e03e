"""A run that is asked to stop writes a checkpoint, and ends later as if it never had."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from ssl_audio.checkpoint import load_newest
from ssl_audio.cli import INTERRUPTED
from ssl_audio.config import load_config
from ssl_audio.errors import Interrupted
from ssl_audio.objectives.contrastive import ContrastiveObjective
from ssl_audio.pretrain import PretrainConfig, pretrain
from tests.ssl_audio.test_training import settings, steps, weights

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
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


def test_training_in_a_thread_leaves_signals_alone(prepared: Path, tmp_path: Path) -> None:
    config = load_config(PretrainConfig, None, sets(prepared, "train.max_steps=1"))
    thread = threading.Thread(target=pretrain, args=(config, tmp_path / "run"))
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "run.json").exists()


SRUN = """#!/bin/bash
# Starts every task, hands signals on to all of them, exits with the highest code.
tasks=()
for rank in $(seq 0 $((SLURM_NTASKS - 1))); do
  SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" & tasks+=($!)
done
trap 'kill -USR1 "${tasks[@]}"' USR1
trap 'kill -TERM "${tasks[@]}"' TERM
highest=0
for task in "${tasks[@]}"; do
  while kill -0 "$task" 2>/dev/null; do wait "$task"; done
  wait "$task"; code=$?
  [ "$code" -gt "$highest" ] && highest=$code
done
exit "$highest"
"""
SLOW = ["train.max_steps=40"]
SCONTROL = """#!/bin/bash
case "$1" in
  show) echo 127.0.0.1 ;;
  requeue) echo "$2" >> "$REQUEUED" ;;
esac
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_preempted_job_is_put_into_the_queue_again(
    number: signal.Signals, tasks: int, prepared: Path, tmp_path: Path
) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)
    requeued = tmp_path / "requeued"

    def start(output: Path) -> subprocess.Popen:
        about = {
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SLURM_NTASKS": str(tasks),
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_JOB_NODELIST": "here",
            "REQUEUED": str(requeued),
        }
        more = [part for item in sets(prepared, *SLOW) for part in ("--set", item)]
        script = ["bash", str(ROOT / "configs" / "cluster" / "pretrain.sbatch")]
        recipe = str(ROOT / "configs" / "pretrain" / "contrastive.yaml")
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(
                [*script, recipe, str(prepared), str(output), *more],
                env={**ENVIRONMENT, **about},
                stderr=log,
                stdout=log,
            )

    assert start(tmp_path / "undisturbed").wait() == 0, (tmp_path / "log").read_text()
    assert not requeued.exists()
    output = tmp_path / "run"
    job = start(output)
    deadline = time.monotonic() + 300
    while not (output / "metrics.jsonl").exists() or max(steps(output), default=0) < 4:
        assert job.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.02)
    job.send_signal(number)
    assert job.wait() == 0
    said = (tmp_path / "log").read_text()
    assert requeued.read_text().split() == [str(os.getpid())], said
    assert "asked to stop: checkpoint of step" in said and not (output / "run.json").exists()
    newest = load_newest(output / "checkpoints")
    assert newest is not None and 4 <= newest.state["step"] < 40
    assert start(output).wait() == 0, (tmp_path / "log").read_text()
    assert json.loads((output / "run.json").read_text())["num_processes"] == tasks
    expected, found = weights(tmp_path / "undisturbed"), weights(output)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert len(requeued.read_text().split()) == 1


def test_the_script_knows_the_exit_code() -> None:
    script = (ROOT / "configs" / "cluster" / "pretrain.sbatch").read_text(encoding="utf-8")
    assert f'"$code" -eq {INTERRUPTED} ' in script
