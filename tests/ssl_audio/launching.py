"""Pretraining commands in processes of their own, which tests may kill.

They are forked from a process that has imported everything already: starting Python and torch anew
takes longer than the small trainings themselves.
"""

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from ssl_audio import cli
from ssl_audio.__main__ import app

_FORKING = get_context("forkserver")
_FORKING.set_forkserver_preload(["ssl_audio.pretrain", "matplotlib.figure", __name__])


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
        environment |= more or {}
        process = _FORKING.Process(target=_run, args=(arguments, environment, str(log)))
        process.start()
        started.append(process)
    return Launched(tuple(started), log)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    with Path(log).open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment, CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    # As in a command of its own: else workers would come from a server that outlives a kill.
    set_start_method("fork", force=True)
    sys.argv = ["ssl_audio", *arguments]
    cli.run(app, "ssl_audio")
