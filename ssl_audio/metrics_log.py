"""metrics.jsonl: one line per log step; values stay on the device in between."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ssl_audio.alarm import LEVELS_OF_A_STEP, not_finite
from ssl_audio.progress import progress_bar


class MetricsLog:
    """Sums on the device, reads them at log steps only; writes metrics.jsonl and the bar.

    Args:
        path: of metrics.jsonl; what an interrupted run wrote after ``step`` is dropped.
        accelerator: whose main process writes.
        step: that the run goes on from.
        max_steps: length of the bar.
        description: in front of it.
    """

    def __init__(
        self, path: Path, accelerator: Accelerator, step: int, max_steps: int, description: str
    ) -> None:
        self.path = path
        self.accelerator = accelerator
        if accelerator.is_main_process:
            _drop_lines_after(path, step)
        self.bar = progress_bar(
            max_steps,
            description,
            "step",
            initial=step,
            disable=not accelerator.is_main_process,
        )
        # Of input, loss and gradient the first step at which it was not finite, or -1.
        self.bad_steps = torch.full((3,), -1.0, device=accelerator.device)
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.waited = self.seconds = 0.0

    def add(
        self,
        step: int,
        values: dict[str, Tensor],
        sound: Tensor,
        waited: float,
        seconds: float,
    ) -> None:
        """Takes what one step left.

        Args:
            step: its number.
            values: scalars, ``loss`` and ``grad_norm`` among them.
            sound: scalar bool, the input was finite.
            waited: seconds, for data.
            seconds: of the step.
        """
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float()
        judged = torch.stack([values["loss"].detach().float(), values["grad_norm"].float()])
        finite = torch.cat([sound[None], judged.isfinite()])
        self.bad_steps = torch.where(~finite & (self.bad_steps < 0), float(step), self.bad_steps)
        self.count += 1
        self.waited += waited
        self.seconds += seconds
        self.bar.update()

    def check_finite(self) -> None:
        """Stops a run that is lost, in all processes if in one.

        Raises:
            CollapseError: input, loss or gradient was not finite, with the first such step.
        """
        steps = self.accelerator.gather(self.bad_steps[None]).cpu()
        if (steps < 0).all():
            return
        firsts = torch.where(steps < 0, torch.inf, steps).amin(0).tolist()
        first = min(firsts)
        raise not_finite(LEVELS_OF_A_STEP[firsts.index(first)], int(first))

    def write(self, step: int, clips_per_step: int, lr: float, spent: dict[str, float]) -> None:
        """Writes the means since the last line, over all processes, the speed and times spent."""
        self.check_finite()
        means = {
            name: self.accelerator.reduce(total / self.count, "mean").item()
            for name, total in self.sums.items()
        }
        self.bar.set_postfix(loss=f"{means['loss']:.4f}", refresh=False)
        speed = {
            "lr": lr,
            "clips_per_second": clips_per_step * self.count / self.seconds,
            "data_wait_fraction": self.waited / self.seconds,
            **spent,
        }
        self.write_line(step, {**means, **speed})
        self._clear()

    def write_line(self, step: int, values: dict[str, float]) -> None:
        """Appends one line, null where a value is not finite; trackers get the same values."""
        if self.accelerator.is_main_process:
            finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **finite}) + "\n")
        self.accelerator.log(values, step=step)

    def close(self) -> None:
        """Ends the bar, and what trackers write."""
        self.bar.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()


def is_finite(batch: Any) -> Tensor:
    """Scalar bool: no float tensor of a batch holds NaN or infinity."""
    tensors = batch.values() if isinstance(batch, dict) else [batch]
    floats = [value for value in tensors if torch.is_tensor(value) and value.is_floating_point()]
    verdicts = [value.isfinite().all() for value in floats]
    return torch.stack(verdicts).all() if verdicts else torch.tensor(True)


def _drop_lines_after(path: Path, step: int) -> None:
    """A killed run may have logged steps that its checkpoint does not have; they come again.

    Before the first step there is no checkpoint: everything comes again.
    """
    if not path.exists():
        return
    if step == 0:
        path.unlink()
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break  # the line that was being written when the run was killed
    path.write_text("".join(kept), encoding="utf-8")
