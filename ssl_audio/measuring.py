"""What is measured while training: results that the best step is chosen by, and others."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from ssl_audio.metrics_log import MetricsLog
from ssl_audio.train_state import TrainState


@dataclass(frozen=True)
class Evaluation:
    """What to measure while training, and which result decides the best step.

    Attributes:
        every: steps; the last step is always evaluated.
        run: on the module in eval mode without gradients; runs on the main process only.
        metric: the tracked one, higher is better.
        save_best: writes the module when it is the best so far, named by the step.
        keep_only: removes what ``save_best`` wrote at other steps than these; called when no
            checkpoint on disk needs them any more.
        first_look: evaluates before the first step too; None does not.
    """

    every: int
    run: Callable[[], dict[str, float]]
    metric: str
    save_best: Callable[[int], None]
    keep_only: Callable[[Collection[int]], None]
    first_look: "FirstLook | None" = None


@dataclass(frozen=True)
class FirstLook:
    """What is there before training is a candidate too, and left only for something better.

    Attributes:
        is_beaten: whether the newest look shows more than the first by more than chance; asked on
            the main process, and only where its metric is higher.
        leave: called after it, where training starts from something else.
    """

    is_beaten: Callable[[], bool]
    leave: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Measurement:
    """What else to measure while training; nothing is chosen by it.

    Attributes:
        every: steps; the last step is always measured.
        run: takes the step; on the module in eval mode without gradients, on the main process.
    """

    every: int
    run: Callable[[int], dict[str, float]]


def evaluate(
    module: nn.Module,
    evaluation: Evaluation,
    state: TrainState,
    accelerator: Accelerator,
    log: MetricsLog,
) -> None:
    """Logs an evaluation, and keeps the module if it is the best so far.

    That before the first step is the first look, which is then left.
    """
    found: list[tuple[dict[str, float], bool] | None] = [None]
    if accelerator.is_main_process:
        module.eval()
        with torch.no_grad():
            metrics = evaluation.run()
            found = [(metrics, _is_best(evaluation, state, metrics[evaluation.metric]))]
        module.train()
    broadcast_object_list(found)
    assert found[0] is not None
    metrics, best = found[0]
    if best:
        state.best_step, state.best_value = state.step, metrics[evaluation.metric]
        if accelerator.is_main_process:
            evaluation.save_best(state.step)
    log.write_line(state.step, metrics)
    accelerator.wait_for_everyone()
    if evaluation.first_look and state.step == 0:
        evaluation.first_look.leave()


def _is_best(evaluation: Evaluation, state: TrainState, value: float) -> bool:
    if state.best_value is not None and not value > state.best_value:  # nor if it is NaN
        return False
    if evaluation.first_look is None or state.best_step != 0:
        return True
    return evaluation.first_look.is_beaten()


def measure(
    module: nn.Module, measurement: Measurement, step: int, accelerator: Accelerator
) -> dict[str, float]:
    """What a measurement found; nothing on other than the main process."""
    values: dict[str, float] = {}
    if accelerator.is_main_process:
        module.eval()
        with torch.no_grad():
            values = measurement.run(step)
        module.train()
    accelerator.wait_for_everyone()
    return values
