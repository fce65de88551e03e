"""Commands in processes of their own, which tests may kill.

They are forked from a process that has imported everything already: starting Python and torch anew
takes longer than what most of them do. What a command imports, and when, this can not tell.
"""

import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, get_context, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

IMPORTED = (
    *("pytest", "matplotlib.figure", "torch.utils.data", "sklearn.linear_model", "xgboost"),
    *("ssl_audio.audit.command", "ssl_audio.data.page", "ssl_audio.pretrain"),
    *("finetune.train", "finetune.evaluate", "finetune.predict"),
    *("benchmarks.importing", "benchmarks.protocol", "benchmarks.tables", "benchmarks.throughput"),
    __name__,
)


@dataclass(frozen=True)
class Launched:
    """The processes of one command, as a launcher would have started them."""

    processes: tuple[BaseProcess, ...]
    log: Path

    def wait(self, seconds: float = 240) -> list[int | None]:
        """Exit codes of all processes; they are killed if they take longer."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            self.kill()
            raise AssertionError(f"still running after {seconds} s: {self.said()}")
        return [process.exitcode for process in self.processes]

    def kill(self) -> None:
        """With a signal that no process hears."""
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGKILL)
        for process in self.processes:
            process.join()

    def is_alive(self) -> bool:
        return any(process.is_alive() for process in self.processes)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "Block",
}
"""What ``accelerate launch`` makes of ``configs/cluster/fsdp2.yaml``."""


def launch(
    arguments: list[str], log: Path, processes: int = 1, more: dict[str, str] | None = None
) -> Launched:
    """Starts ``python -m ssl_audio`` with these arguments on the CPU, one thread a process."""
    port = free_port()
    started = []
    for rank in range(processes):
        about = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": processes,
            "LOCAL_WORLD_SIZE": processes,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        environment = {name: str(value) for name, value in about.items()} if processes > 1 else {}
        environment |= {"CUDA_VISIBLE_DEVICES": ""} | (more or {})
        started.append(_start(["ssl_audio", *arguments], log, log, Path.cwd(), environment))
    return Launched(tuple(started), log)


def run_command(module: str, *arguments: object, cwd: Path | None = None) -> CompletedProcess[str]:
    """What ``python -m module`` with these arguments prints, and its exit code."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        (code,) = start_command(module, *arguments, out=out, err=err, cwd=cwd).wait()
        assert code is not None
        texts = (path.read_text(encoding="utf-8") for path in (out, err))
        return CompletedProcess([module, *map(str, arguments)], code, *texts)


def start_command(
    module: str, *arguments: object, out: Path, err: Path, cwd: Path | None = None
) -> Launched:
    """Starts ``python -m module`` with these arguments, to be killed or waited for."""
    process = _start([module, *map(str, arguments)], out, err, cwd or Path.cwd(), {})
    return Launched((process,), err)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@cache
def start_server() -> None:
    """Starts what processes are forked from, once.

    Its environment has what libraries read but once, as they are imported: nothing is downloaded.
    """
    forkserver.set_forkserver_preload(list(IMPORTED))
    with patch.dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1"):
        forkserver.ensure_running()


def _start(
    command: list[str], out: Path, err: Path, cwd: Path, more: Mapping[str, str]
) -> BaseProcess:
    start_server()
    environment = {**os.environ, **more}
    process = get_context("forkserver").Process(
        target=_run, args=(command, str(out), str(err), str(cwd), environment)
    )
    process.start()
    return process


def _run(command: list[str], out: str, err: str, cwd: str, environment: Mapping[str, str]) -> None:
    for number, path in ((1, out), (2, err)):
        with Path(path).open("ab") as file:
            os.dup2(file.fileno(), number)
    os.setpgrp()  # as a shell's jobs have: a signal to all of it leaves the tests alone
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    torch.set_num_threads(1)
    # As in a command of its own: else workers would come from a server that outlives a kill.
    set_start_method("fork", force=True)
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
