"""Peak memory of one run among others of a process; elsewhere than on Linux, of all so far."""

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import torch

_PROCESS = Path("/proc/self")


def forget_peak() -> None:
    """Starts a new peak from what is held and not only kept for later, where the system can."""
    give_back_freed()
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5", encoding="utf-8")


def peak_mebibytes() -> float:
    """The most memory that was held at once since ``forget_peak``."""
    with suppress(OSError):
        lines = (_PROCESS / "status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class PeakMemory:
    """The most that what runs in it holds above what was held before, in MiB.

    Args:
        device: whose memory: the GPU's own, or this process's.

    Attributes:
        mebibytes: known when it is left.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.mebibytes = 0.0

    def __enter__(self) -> Self:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device) / 2**20
        else:
            forget_peak()
            self._before = _resident_mebibytes()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            peak = peak_mebibytes()
        self.mebibytes = peak - self._before


def _resident_mebibytes() -> float:
    """The memory that is held now; where the system does not tell, the most so far."""
    with suppress(OSError):
        lines = (_PROCESS / "status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 2**10
    return peak_mebibytes()


def give_back_freed() -> None:
    """Has the C library return what was freed, so that it does not count as held, where it can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
