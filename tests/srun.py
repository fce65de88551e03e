"""Stands in for SLURM's srun: a command on STAND_IN_NODES nodes, one task each, all of them here.

It does with signals, exit codes and tasks that leave early what srun does (SLURM,
``src/srun/libsrun/srun_job.c``: ``_srun_signal_mgr``; ``launch.c``: ``_task_finish``), only sooner.
Process ids of tasks are written to the file STAND_IN_TASKS.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

OPTIONS = {
    "--kill-on-bad-exit": "SLURM_KILL_BAD_EXIT",
    "--wait": "SLURM_WAIT",
    "--cpus-per-task": "SRUN_CPUS_PER_TASK",
}
"""And where else their values come from; not from what the job has asked for."""


class Step:
    """The tasks of one srun."""

    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.started: list[subprocess.Popen] = []  # one that is forgotten is waited for elsewhere

    def start(self, command: list[str], num_nodes: int) -> None:
        for rank in range(num_nodes):
            about = {"SLURM_NTASKS": num_nodes, "SLURM_PROCID": rank, "SLURM_NODEID": rank}
            values = {name: str(value) for name, value in (about | {"SLURM_LOCALID": 0}).items()}
            self.started.append(subprocess.Popen(command, env=os.environ | values))
            self.alive.add(self.started[-1].pid)

    def forward(self, number: int, frame: FrameType | None) -> None:
        for process in self.alive:
            with contextlib.suppress(ProcessLookupError):  # just waited for
                os.kill(process, number)

    def end(self, number: int, frame: FrameType | None) -> None:
        print("srun: forcing job termination", file=sys.stderr)
        self.forward(signal.SIGKILL, None)

    def wait(self, kills_on_bad_exit: bool, seconds: int) -> int:
        """The exit code: the highest; of killed tasks only if none left by itself."""
        found: int | None = None
        while self.alive:
            process, status = os.wait()
            self.alive.remove(process)
            code = os.waitstatus_to_exitcode(status)
            print(f"srun: a task left with {code}", file=sys.stderr)
            if found is None:
                signal.alarm(seconds)
            if found is None or (code >= 0 and code > found):
                found = code
            if code != 0 and kills_on_bad_exit:
                self.forward(signal.SIGKILL, None)
        assert found is not None
        return found if found >= 0 else 128 - found


def main() -> int:
    chosen = {name: int(os.environ.get(variable, "0")) for name, variable in OPTIONS.items()}
    words = sys.argv[1:]
    while words[0].startswith("--"):
        name, value = words.pop(0).split("=")
        assert name in chosen, name
        chosen[name] = int(value)
    os.environ["SLURM_CPUS_PER_TASK"] = str(max(1, chosen["--cpus-per-task"]))
    step = Step()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
        signal.signal(number, step.end)
    signal.signal(signal.SIGUSR1, step.forward)
    step.start(words, int(os.environ["STAND_IN_NODES"]))
    Path(os.environ["STAND_IN_TASKS"]).write_text(" ".join(map(str, step.alive)))
    return step.wait(bool(chosen["--kill-on-bad-exit"]), chosen["--wait"])


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # at once: a Python that is leaving no longer hears signals, and dies of them
