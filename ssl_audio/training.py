"""The training loop: one function, counted in optimizer steps, used by every kind of training."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.utils.data import Dataset

from ssl_audio.alarm import Watch
from ssl_audio.checkpoint import (
    Checkpoint,
    optimizer_tensors,
    read_states,
    restore_optimizer,
    save_checkpoint,
)
from ssl_audio.data.stream import StepSampler, build_loader
from ssl_audio.errors import ConfigError, Interrupted
from ssl_audio.interruption import StopSignals
from ssl_audio.measuring import Evaluation, Measurement, evaluate, measure
from ssl_audio.metrics_log import MetricsLog, is_finite
from ssl_audio.objectives.base import StepOutput
from ssl_audio.optim import learning_rate_factor
from ssl_audio.session import Session, TrainConfig
from ssl_audio.sharding import check_is_cut, copy_weights, is_cut, whole
from ssl_audio.train_state import TrainState
from ssl_audio.transformer import compile_blocks, recompute_blocks


@dataclass(frozen=True)
class Accumulated:
    """What the micro-batches of one step left beside gradients.

    Attributes:
        metrics: the loss and the others, means over micro-batches.
        batch: the last one.
        sound: scalar bool, no value of any batch is NaN or infinite.
        waited: seconds, for data.
    """

    metrics: dict[str, Tensor]
    batch: Any
    sound: Tensor
    waited: float


def train(
    module: nn.Module,
    stream: Dataset,
    groups: list[dict[str, Any]],
    config: TrainConfig,
    session: Session,
    description: str,
    evaluation: Evaluation | None = None,
    after_step: Callable[[int, int], None] | None = None,
    watch: Watch | None = None,
    measurement: Measurement | None = None,
    twin: nn.Module | None = None,
) -> TrainState:
    """Trains until ``max_steps``, from the session's checkpoint if it has one.

    Args:
        module: takes a batch, returns a ``StepOutput``.
        stream: batches by draw numbers, see ``data.stream.CropStream``, or endless ones in an order
            of its own, of this process.
        groups: parameter groups with ``lr_scale``, see ``optim``.
        config: how to train.
        session: from ``open_session``.
        description: of the progress bar.
        evaluation: what the best step is chosen by.
        after_step: called with the step just taken and ``max_steps``.
        watch: on collapse; looks at the weights of before a step.
        measurement: what else to measure meanwhile.
        twin: of a module that is to be sharded: whole, with the weights of the last look at it. It
            is what watch, measurement and checkpoints see, and has the last weights in the end.

    Raises:
        ConfigError: the module is to be sharded and has no twin.
        CollapseError: something is no longer finite, or the watch stops the run; with the step.
        Interrupted: a signal asked it to stop; its checkpoint is written.
    """
    accelerator = session.accelerator
    _ready_blocks(module, config)
    if session.checkpoint is not None:
        module.load_state_dict(session.checkpoint.module)
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
    wrapped, prepared_optimizer = accelerator.prepare(module, optimizer)
    seen = _see_whole(module, twin, accelerator.device)
    state = _restore(module, optimizer, session)
    _show(module, seen)  # of a run that was finished already no step does it
    batches = _open_batches(stream, config, state.step, accelerator)
    log = MetricsLog(
        session.output / "metrics.jsonl", accelerator, state.step, config.max_steps, description
    )
    clips_per_step = config.batch_size * config.accumulation * accelerator.num_processes
    module.train()
    stopped = False
    with closing(log), StopSignals(accelerator) as signals:
        clock = _Clock.start(state)
        if evaluation and evaluation.first_look and state.step == 0:
            evaluate(module, evaluation, state, accelerator, log)
        while state.step < config.max_steps and not (state.cut or stopped):
            started = time.perf_counter()
            _set_learning_rate(optimizer, config, state.step)
            torch.manual_seed(_step_seed(config.seed, state.step, accelerator.process_index))
            done = _accumulate(wrapped, batches, config.accumulation, accelerator)
            norm = accelerator.clip_grad_norm_(wrapped.parameters(), config.max_grad_norm)
            metrics = {**done.metrics, "grad_norm": whole(norm)}
            if watch and watch.due(state.step + 1):
                _show(module, seen)
                _look(watch, done, metrics, state, accelerator, log)
            prepared_optimizer.step()
            prepared_optimizer.zero_grad(set_to_none=True)
            state.step += 1
            if after_step:
                after_step(state.step, config.max_steps)
            clock.stamp(state)
            seconds = time.perf_counter() - started
            log.add(state.step, metrics, done.sound, done.waited, seconds)
            last = state.step == config.max_steps
            logs = last or state.step % config.log_every == 0
            state.cut = not last and _over(config.max_seconds, state.seconds, accelerator, logs)
            finished = last or state.cut
            stopped = signals.agree() and not finished
            if logs or state.cut:
                lr = optimizer.param_groups[0]["lr"] / groups[0]["lr_scale"]
                spent = {"seconds": state.seconds, "processor_seconds": state.processor_seconds}
                log.write(state.step, clips_per_step, lr, spent)
            if measurement and (finished or state.step % measurement.every == 0):
                _show(module, seen)
                log.write_line(state.step, measure(seen, measurement, state.step, accelerator))
            if evaluation and (finished or state.step % evaluation.every == 0):
                evaluate(module, evaluation, state, accelerator, log)
            if finished or stopped or state.step % config.save_every == 0:
                log.check_finite()
                _show(module, seen)
                tensors = (seen.state_dict(), optimizer_tensors(module, optimizer))
                _save(*tensors, state, session, config.keep_checkpoints, evaluation)
    if stopped:
        # A scheduler may kill the others once one has left with an exit code that is not 0.
        accelerator.wait_for_everyone()
        raise Interrupted(
            f"asked to stop: checkpoint of step {state.step} written, go on with --resume"
        )
    return state


@dataclass(frozen=True)
class _Clock:
    """When wall time and the processor's time of a run would have begun without its stops."""

    wall: float
    processor: float

    @classmethod
    def start(cls, state: TrainState) -> "_Clock":
        """From what was spent so far, in seconds."""
        wall = time.perf_counter() - state.seconds
        return cls(wall, time.process_time() - state.processor_seconds)

    def stamp(self, state: TrainState) -> None:
        """Writes what is spent by now."""
        state.seconds = time.perf_counter() - self.wall
        state.processor_seconds = time.process_time() - self.processor


def _ready_blocks(module: nn.Module, config: TrainConfig) -> None:
    if config.gradient_checkpointing:
        recompute_blocks(module)
    if config.compile:
        compile_blocks(module)


def _open_batches(
    stream: Dataset, config: TrainConfig, first_step: int, accelerator: Accelerator
) -> Iterator[Any]:
    """This process's batches from the step on that comes next."""
    sampler = StepSampler(
        config.batch_size,
        config.accumulation,
        first_step,
        config.max_steps,
        accelerator.process_index,
        accelerator.num_processes,
    )
    return iter(build_loader(stream, sampler, config.num_workers))


def _accumulate(
    wrapped: nn.Module, batches: Iterator[Any], accumulation: int, accelerator: Accelerator
) -> Accumulated:
    """Gradients of one optimizer step; processes exchange them at the last micro-batch only."""
    values: dict[str, list[Tensor]] = defaultdict(list)
    sound = torch.ones((), dtype=torch.bool, device=accelerator.device)
    waited = 0.0
    for micro in range(accumulation):
        started = time.perf_counter()
        batch = send_to_device(next(batches), accelerator.device, non_blocking=True)
        waited += time.perf_counter() - started
        sound = sound & is_finite(batch)
        if micro < accumulation - 1:
            with accelerator.no_sync(wrapped):
                output = _forward_backward(wrapped, batch, accumulation, accelerator)
        else:
            output = _forward_backward(wrapped, batch, accumulation, accelerator)
        for name, value in {"loss": output.loss, **output.metrics}.items():
            values[name].append(value.detach().float())
    metrics = {name: torch.stack(found).mean() for name, found in values.items()}
    return Accumulated(metrics, batch, sound, waited)


def _look(
    watch: Watch,
    done: Accumulated,
    metrics: dict[str, Tensor],
    state: TrainState,
    accelerator: Accelerator,
    log: MetricsLog,
) -> None:
    """All processes judge the same means, so that all of them stop or none."""
    log.check_finite()
    step = state.step + 1
    found = {"sound": done.sound.float(), **watch.measure(done.batch)}
    found |= {name: metrics[name].float() for name in ("loss", "grad_norm")}
    means = accelerator.reduce(torch.stack(list(found.values())), "mean").tolist()
    values = dict(zip(found, means, strict=True))
    state.first_look = state.first_look or values
    log.write_line(step, {f"watch/{name}": value for name, value in values.items()})
    watch.judge(step, values, state.first_look)


def _forward_backward(
    wrapped: nn.Module, batch: Any, accumulation: int, accelerator: Accelerator
) -> StepOutput:
    half = accelerator.mixed_precision == "bf16"
    # accelerate does so too, but not under FSDP2.
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=half):
        output: StepOutput = wrapped(batch)
    accelerator.backward(output.loss / accumulation)
    return output


def _set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, step: int) -> None:
    factor = learning_rate_factor(step, config.warmup_steps, config.max_steps, config.final_lr)
    for group in optimizer.param_groups:
        group["lr"] = config.lr * factor * group["lr_scale"]


def _step_seed(seed: int, step: int, process: int) -> int:
    """For dropout and the like: a function of where the run is, not of how it came there."""
    return (seed * 1_000_003 + step) * 1_009 + process


def _over(
    max_seconds: float | None, seconds: float, accelerator: Accelerator, can_agree: bool
) -> bool:
    """Whether time is up: at every step of one process; several agree on it at log steps."""
    if max_seconds is None:
        return False
    if accelerator.num_processes == 1:
        return seconds > max_seconds
    if not can_agree:
        return False
    clock = torch.tensor(seconds, device=accelerator.device)
    return accelerator.reduce(clock, "mean").item() > max_seconds


def _save(
    weights: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    state: TrainState,
    session: Session,
    keep: int,
    evaluation: Evaluation | None,
) -> None:
    if session.accelerator.is_main_process:
        document = {
            "train": asdict(state),
            "choices": session.choices,
            "identity": session.identity,
        }
        checkpoint = Checkpoint(weights, optimizer, document)
        folder = session.output / "checkpoints"
        save_checkpoint(folder, state.step, checkpoint, keep)
        if evaluation:
            best_steps = {kept["train"]["best_step"] for kept in read_states(folder)}
            evaluation.keep_only(best_steps - {None})  # which one has before its first evaluation
    session.accelerator.wait_for_everyone()


def _see_whole(module: nn.Module, twin: nn.Module | None, device: torch.device) -> nn.Module:
    """What can be looked at outside of a training step: the module itself unless it is sharded."""
    if twin is None:
        if is_cut(module):
            raise ConfigError("FSDP2 is for pretraining only: launch this with DDP instead")
        return module
    check_is_cut(module)
    return twin.to(device)


def _show(module: nn.Module, seen: nn.Module) -> None:
    """Brings what is looked at up to date."""
    if seen is not module:
        copy_weights(module, seen)


def _restore(module: nn.Module, optimizer: torch.optim.Optimizer, session: Session) -> TrainState:
    if session.checkpoint is None:
        return TrainState()
    restore_optimizer(module, optimizer, session.checkpoint.optimizer)
    return TrainState(**{**session.checkpoint.state["train"], "cut": False})
