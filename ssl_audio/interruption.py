"""A run that is asked to stop writes a checkpoint after the step it is in, and leaves."""

import signal
import threading
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ssl_audio.stop_signals import STOP_SIGNALS


class StopSignals:
    """Hears them while it is entered; outside of a program's main thread it hears none.

    Args:
        accelerator: whose processes stop together, whichever of them was asked.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.asked = False
        self._reply: _Reply | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._hear) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def agree(self) -> bool:
        """Whether to stop after this step: to be called once a step, by all processes.

        Several processes stop one step after the first of them was asked: what they said is read a
        step later, so that no device has to be waited for.
        """
        if self.accelerator.num_processes == 1:
            return self.asked
        former = self._reply
        # Filled on the device: a number sent there waits for all that it has still to compute.
        asked = torch.full((), float(self.asked), device=self.accelerator.device)
        self._reply = _Reply.send(self.accelerator.reduce(asked, "sum"))
        return former is not None and former.read() > 0


@dataclass(frozen=True)
class _Reply:
    """A number on its way from a device to the CPU."""

    value: Tensor
    arrived: torch.Event | None

    @classmethod
    def send(cls, number: Tensor) -> "_Reply":
        """Does not wait for it."""
        value = number.to("cpu", non_blocking=True)
        if number.device.type == "cpu":
            return cls(value, None)
        arrived = torch.Event(number.device)
        arrived.record()
        return cls(value, arrived)

    def read(self) -> float:
        """Waits for it alone, not for what the device was given to do since."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.value.item()
