"""Times whole training steps of any systems, side by side.

Every system takes steps in turn, round by round, so that what the machine does meanwhile meets all
of them alike; so does the matrix product that is taken as the peak.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import (
    FlopCounterMode,
    conv_flop_count,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from benchmarks.memory import PeakMemory, give_back_freed
from ssl_audio.optim import parameter_groups
from ssl_audio.probing import Precision
from ssl_audio.progress import progress_bar
from ssl_audio.run_record import git_commit, processor_name

LONGEST = 10**6


def _count_convolution_backward(
    grad: Any,
    audio: Any,
    weight: Any,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    return sum(output_mask[:2]) * conv_flop_count(audio, weight, grad, transposed)


OPERATIONS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.convolution_backward: _count_convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(grad, query, key, value)
    ),
}
"""Operations of shapes: torch counts those of fused attention on a GPU only, and those of grouped
convolutions' weight gradients as if there were no groups."""


@dataclass(frozen=True)
class System:
    """One way of pretraining, ready to take steps.

    Attributes:
        name: as the table prints it.
        module: that learns.
        loss: of a new batch, and the seconds that were waited for it.
        clips: of a batch.
        views: masked views of a batch.
        seconds: of audio in a clip.
        tokens: that the encoder sees of a view.
        precision: of autocast.
        device: where it learns.
        after_step: what follows an optimizer step.
        after_first: what follows the first of all steps, of which operations are counted.
        before_round: brings what a run of it alone would find in memory back there; not timed.
    """

    name: str
    module: nn.Module
    loss: Callable[[], tuple[Tensor, float]]
    clips: int
    views: int
    seconds: float
    tokens: int
    precision: Precision
    device: torch.device
    after_step: Callable[[int, int], None] = lambda step, max_steps: None
    after_first: Callable[[], None] = lambda: None
    before_round: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Row:
    """How fast a system trains; rates are medians over rounds, with the slowest and fastest.

    Attributes:
        system: its name.
        precision: of autocast.
        parameters: weights that learn.
        batch_size: clips of a step.
        audio_seconds_per_second: of clips, per second of wall time.
        slowest, fastest: the same, of single rounds.
        clips_per_second: of wall time.
        views_per_second: masked views of clips.
        flops_per_clip: floating-point operations of the model, forward and backward.
        share_of_matmul_peak: model FLOP/s over the best matrix product of its own shapes in the
            same rounds, see ``time_matmul``; on a GPU what is known as MFU, against what was
            measured.
        data_wait_fraction: of the wall time, that of each round's first step left out.
        peak_mebibytes: of its first step above what was held before: activations, gradients and
            the optimizer's state.
    """

    system: str
    precision: str
    parameters: int
    batch_size: int
    audio_seconds_per_second: float
    slowest: float
    fastest: float
    clips_per_second: float
    views_per_second: float
    flops_per_clip: float
    share_of_matmul_peak: float
    data_wait_fraction: float
    peak_mebibytes: float


@dataclass(frozen=True)
class Report:
    """Every system of one run."""

    threads: int
    device: str
    rounds: int
    rows: tuple[Row, ...]
    processor: str = field(default_factory=processor_name)
    git_commit: str | None = field(default_factory=git_commit)

    def describe(self) -> str:
        """A table for the terminal."""
        lines = [
            f"{self.device}, {self.threads} threads, {self.rounds} rounds; "
            "audio-seconds trained on per second",
            f"{'system':<42}{'audio-s/s':>10}{'slowest':>9}{'fastest':>9}{'clips/s':>9}"
            f"{'views/s':>9}{'of peak':>9}{'wait':>8}{'MiB':>7}",
        ]
        lines += [
            f"{row.system:<42}{row.audio_seconds_per_second:>10.1f}{row.slowest:>9.1f}"
            f"{row.fastest:>9.1f}{row.clips_per_second:>9.1f}{row.views_per_second:>9.1f}"
            f"{row.share_of_matmul_peak:>9.1%}{row.data_wait_fraction:>8.2%}"
            f"{row.peak_mebibytes:>7.0f}"
            for row in self.rows
        ]
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """Writes every figure as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def time_systems(systems: Sequence[System], rounds: int, seconds: float) -> Report:
    """Steps of every system in turn, and matrix products of its shapes between them."""
    trainers = [Trainer(system) for system in systems]
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    peaks: dict[str, list[float]] = {system.name: [] for system in systems}
    with progress_bar((rounds + 1) * len(systems), "pretrain", "block") as bar:
        for number in range(rounds + 1):
            for trainer in trainers:
                name = trainer.system.name
                # What others have freed would press the corpus out of the system's memory.
                give_back_freed()
                step = trainer.run(seconds)
                peak = time_matmul(trainer.system)
                if number:  # the first round warms up
                    times[name].append(step)
                    peaks[name].append(peak)
                else:
                    trainer.waited = trainer.spent = 0.0
                bar.update()
    rows = tuple(_row(trainer, times, peaks) for trainer in trainers)
    device = systems[0].device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Report(torch.get_num_threads(), name, rounds, rows)


class Trainer:
    """Takes whole training steps: batch, forward, backward, clipping, AdamW."""

    def __init__(self, system: System) -> None:
        self.system = system
        groups = [
            {name: value for name, value in group.items() if name != "lr_scale"}
            for group in parameter_groups(system.module, 0.05)
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, fused=True)
        self.weights = [weight for group in groups for weight in group["params"]]
        self.waited = self.spent = 0.0
        counting = FlopCounterMode(display=False, custom_mapping=OPERATIONS)
        with PeakMemory(system.device) as peak, counting as counter:
            self.step()
        self.peak_mebibytes = peak.mebibytes
        self.flops_per_clip = counter.get_total_flops() / system.clips
        system.after_first()

    def step(self) -> float:
        """One step; returns the seconds waited for its batch."""
        half = self.system.precision == "bfloat16"
        with torch.autocast(self.system.device.type, torch.bfloat16, enabled=half):
            loss, waited = self.system.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 3.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.system.after_step(1, LONGEST)
        finish(self.system.device)
        return waited

    def run(self, seconds: float) -> float:
        """Seconds a step takes, the mean over at least so many of training, one step at least.

        What ran before has left its own data in the caches: a first step is not counted.
        """
        self.system.before_round()
        self.step()
        started = time.perf_counter()
        spent, num_steps = 0.0, 0
        while num_steps == 0 or spent < seconds:
            self.waited += self.step()
            num_steps += 1
            spent = time.perf_counter() - started
        self.spent += spent
        return spent / num_steps


def finish(device: torch.device) -> None:
    """Waits for what a GPU still computes, so that the clock counts it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_matmul(system: System, repeats: int = 3) -> float:
    """FLOP/s of the best matrix product with the shapes of the system's blocks.

    In bfloat16 or, as not every CPU is faster with it, in float32.
    """
    config: Any = getattr(system.module, "encoder", system.module).config
    dim = config.hidden_size
    wide = getattr(config, "intermediate_size", 4 * dim)
    rows = max(64, system.views * system.tokens)
    products = 1 if system.device.type == "cpu" else 20  # in a row: starting one takes a GPU long
    shapes = ((dim, wide), (wide, dim), (dim, 3 * dim))
    best = 0.0
    for dtype, (inner, outer) in product((torch.bfloat16, torch.float32), shapes):
        make = partial(torch.randn, dtype=dtype, device=system.device)
        tokens, weight = make(rows, inner), make(inner, outer)
        for _ in range(repeats):
            finish(system.device)
            started = time.perf_counter()
            for _ in range(products):
                _ = tokens @ weight
            finish(system.device)
            spent = time.perf_counter() - started
            best = max(best, 2 * products * rows * inner * outer / spent)
    return best


def _row(trainer: Trainer, times: dict[str, list[float]], peaks: dict[str, list[float]]) -> Row:
    system = trainer.system
    steps = np.array(times[system.name])
    rates = system.clips * system.seconds / steps
    step = float(np.median(steps))
    flops = trainer.flops_per_clip * system.clips / step
    return Row(
        system=system.name,
        precision=system.precision,
        parameters=sum(weight.numel() for weight in trainer.weights),
        batch_size=system.clips,
        audio_seconds_per_second=float(np.median(rates)),
        slowest=float(rates.min()),
        fastest=float(rates.max()),
        clips_per_second=system.clips / step,
        views_per_second=system.views / step,
        flops_per_clip=trainer.flops_per_clip,
        share_of_matmul_peak=flops / max(peaks[system.name]),
        data_wait_fraction=trainer.waited / trainer.spent,
        peak_mebibytes=trainer.peak_mebibytes,
    )
