"""What is measured while training: results that the best step is chosen by, and others."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from statistics import NormalDist

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

    A step is better if its metric is so by more than noise of what the first look measured, taken
    as a share of so many clips: by more than the best of all later looks is in one run of twenty
    at the most, if nothing has been learnt.

    Attributes:
        num_clips: that the metric, a share in [0, 1], is measured on.
        later_looks: how often it is measured again.
        leave: called after it, where training starts from something else.

    Source: Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3, for a rule by
    standard errors; Dunn 1961, "Multiple Comparisons Among Means", section 2, for how many.
    """

    num_clips: int
    later_looks: int
    leave: Callable[[], None] = lambda: None

    def margin(self, value: float) -> float:
        """Least gain over a share ``value`` that is no noise."""
        deviations = NormalDist().inv_cdf(1 - _SHARE_BY_CHANCE / self.later_looks)
        # A mean of perfect shares may exceed 1 by a rounding.
        return deviations * math.sqrt(max(0.0, value * (1 - value)) / self.num_clips)


_SHARE_BY_CHANCE = 0.05


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
    results: list[dict[str, float] | None] = [None]
    if accelerator.is_main_process:
        module.eval()
        with torch.no_grad():
            results = [evaluation.run()]
        module.train()
    broadcast_object_list(results)
    metrics = results[0] or {}
    value = metrics[evaluation.metric]
    if state.best_value is None or value > state.best_value + _margin(evaluation, state):
        state.best_step, state.best_value = state.step, value
        if accelerator.is_main_process:
            evaluation.save_best(state.step)
    log.write_line(state.step, metrics)
    accelerator.wait_for_everyone()
    if evaluation.first_look and state.step == 0:
        evaluation.first_look.leave()


def _margin(evaluation: Evaluation, state: TrainState) -> float:
    """By how much a step must be better than the best one so far."""
    if evaluation.first_look is None or state.best_step != 0 or state.best_value is None:
        return 0.0
    return evaluation.first_look.margin(state.best_value)


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
