"""Memory of a command and of every process that it starts, while it runs."""

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ssl_audio.errors import UserError

PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Watched:
    """A command that has ended well."""

    wall_seconds: float
    processor_seconds: float
    """Of all its processes and threads."""
    peak_resident_bytes: int
    """Largest sum of the resident pages of all processes. Pages of files that are mapped count,
    and a page that several processes share counts for each of them: an upper bound."""
    peak_private_bytes: int
    """Largest sum of pages that belong to no file."""
    high_water_bytes: int
    """Sum over all processes of the most that each ever held, by the kernel's own account: no peak
    between samples escapes it. 0 where the system has no ``/proc``."""
    num_samples: int


def watch(command: Sequence[str]) -> Watched:
    """Runs a command to its end and looks at its memory every 0.2 s.

    Raises:
        UserError: it fails.
    """
    start = time.monotonic()
    process = subprocess.Popen(command)
    resident = private = num_samples = 0
    marks: dict[int, int] = {}
    ended, status, usage = 0, 0, None
    while not ended:
        total, anonymous = _measure(process.pid, marks)
        resident, private = max(resident, total), max(private, anonymous)
        num_samples += 1
        time.sleep(PAUSE_SECONDS)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert usage is not None
    if process.returncode:
        raise UserError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return Watched(
        wall_seconds=time.monotonic() - start,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_resident_bytes=resident,
        peak_private_bytes=private,
        high_water_bytes=sum(marks.values()),
        num_samples=num_samples,
    )


def _measure(pid: int, marks: dict[int, int]) -> tuple[int, int]:
    """Resident bytes of a process and its descendants, and what of them belongs to no file.

    Args:
        pid: of the process.
        marks: high-water marks in bytes by process; brought up to date.
    """
    total = anonymous = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            memory = process.memory_info()
            total += memory.rss
            anonymous += memory.rss - memory.shared
            marks[process.pid] = _high_water_bytes(process.pid) or marks.get(process.pid, 0)
    except psutil.NoSuchProcess:
        pass
    return total, anonymous


def _high_water_bytes(pid: int) -> int:
    """Unlike ``ru_maxrss``, this starts anew when a process becomes another program."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return 0
