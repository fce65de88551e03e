"""The training loop: one function, counted in optimizer steps, used by every kind of training."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, send_to_device
from torch import Tensor, nn
from torch.utils.data import Dataset

from ssl_audio.checkpoint import (
    Checkpoint,
    load_newest,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from ssl_audio.config import Config
from ssl_audio.data.stream import StepSampler, build_loader
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import UserError
from ssl_audio.objectives.base import StepOutput
from ssl_audio.optim import learning_rate_factor
from ssl_audio.probing import choose_attention, choose_precision
from ssl_audio.progress import progress_bar


class TrainConfig(Config):
    """How to train, whatever the module.

    Attributes:
        seed: of initial weights and every random draw.
        max_steps: optimizer steps of the whole run.
        warmup_steps: of linearly rising learning rate.
        batch_size: clips per process and micro-batch.
        accumulation: micro-batches per optimizer step.
        lr: peak learning rate.
        final_lr: last learning rate as a share of the peak.
        weight_decay: AdamW's, on matrices.
        betas: AdamW's.
        max_grad_norm: gradients are scaled down to this norm.
        precision: of autocast; ``auto`` measures.
        attention: form of attention; ``auto`` measures.
        num_workers: processes that assemble batches; 0 is this one.
        log_every: steps between lines of ``metrics.jsonl``.
        save_every: steps between checkpoints.
        keep_checkpoints: how many stay on disk.
        max_seconds: stop early after this time and say so; None is no limit.
    """

    seed: int = 0
    max_steps: int = 1000
    warmup_steps: int = 100
    batch_size: int = 64
    accumulation: int = 1
    lr: float = 5e-4
    final_lr: float = 0.01
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    max_grad_norm: float = 3.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    num_workers: int = 0
    log_every: int = 20
    save_every: int = 200
    keep_checkpoints: int = 2
    max_seconds: float | None = None


@dataclass
class TrainState:
    """All resumable state beside weights and optimizer.

    Attributes:
        step: optimizer steps taken.
        seconds: spent training, over all resumed parts.
        best_step: where the tracked metric was best; None before the first evaluation.
        best_value: the metric there.
        cut: stopped by ``max_seconds`` before ``max_steps``.
    """

    step: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_value: float | None = None
    cut: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What to measure while training, and which result decides the best step.

    Attributes:
        every: steps; the last step is always evaluated.
        run: on the module in eval mode without gradients; runs on the main process only.
        metric: the tracked one, higher is better.
        save_best: writes the module when it is the best so far, named by the step.
    """

    every: int
    run: Callable[[], dict[str, float]]
    metric: str
    save_best: Callable[[int], None]


@dataclass(frozen=True)
class Session:
    """A run folder opened for training: where it goes on from and with which choices.

    Attributes:
        output: the run's folder.
        accelerator: device, processes and precision.
        choices: ``precision``, ``attention``, ``threads``; probed once, then kept.
        identity: what must be equal for a checkpoint to be continued.
        checkpoint: to continue, if any.
    """

    output: Path
    accelerator: Accelerator
    choices: dict[str, Any]
    identity: dict[str, Any]
    checkpoint: Checkpoint | None


_FREE_TO_CHANGE = {"num_workers", "log_every", "keep_checkpoints", "max_seconds"}


def open_session(
    output: Path,
    resume: bool,
    config: Config,
    train_config: TrainConfig,
    data_fingerprint: str,
    encoder_config: AudioEncoderConfig,
    tokens: int,
) -> Session:
    """Starts accelerate, finds what to resume, and makes or reuses the probed choices.

    Args:
        output: the run's folder; made if missing.
        resume: go on from its newest whole checkpoint.
        config: the whole configuration; a resumed run must have the same.
        train_config: its training part.
        data_fingerprint: a resumed run must have the same.
        encoder_config: for the probe of attention forms.
        tokens: per clip, for the same.

    Raises:
        UserError: the folder holds another run, or the checkpoint's run differs, with the key.
    """
    state = PartialState(cpu=not torch.cuda.is_available())
    _check_num_processes(state.num_processes)
    identity = {"data_fingerprint": data_fingerprint, "num_processes": state.num_processes}
    identity |= _flatten(config.model_dump(mode="json"))
    folder = output / "checkpoints"
    if not resume and (folder.exists() or (output / "run.json").exists()):
        raise UserError(f"{output} already holds a run: pass --resume or another --output")
    checkpoint = load_newest(folder) if resume else None
    if checkpoint is not None:
        _refuse_other_run(identity, checkpoint.state["identity"])
    choices: list[Any] = [checkpoint.state["choices"] if checkpoint else None]
    if choices[0] is None and state.is_main_process:
        choices = [_probe(train_config, encoder_config, tokens, state.device)]
    broadcast_object_list(choices)
    chosen: dict[str, Any] = choices[0]
    torch.set_num_threads(chosen["threads"])
    output.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if chosen["precision"] == "bfloat16" else "no",
    )
    return Session(output, accelerator, chosen, identity, checkpoint)


def train(
    module: nn.Module,
    stream: Dataset,
    groups: list[dict[str, Any]],
    config: TrainConfig,
    session: Session,
    description: str,
    evaluation: Evaluation | None = None,
) -> TrainState:
    """Trains until ``max_steps``, from the session's checkpoint if it has one.

    Args:
        module: takes a batch, returns a ``StepOutput``.
        stream: batches by draw numbers, see ``data.stream.CropStream``.
        groups: parameter groups with ``lr_scale``, see ``optim``.
        config: how to train.
        session: from ``open_session``.
        description: of the progress bar.
        evaluation: what to measure meanwhile.

    Raises:
        UserError: the loss is no longer finite, with the step.
    """
    accelerator = session.accelerator
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
    wrapped, prepared_optimizer = accelerator.prepare(module, optimizer)
    state = _restore(module, optimizer, session)
    sampler = StepSampler(
        config.batch_size,
        config.accumulation,
        state.step,
        config.max_steps,
        accelerator.process_index,
        accelerator.num_processes,
    )
    loader = iter(build_loader(stream, sampler, config.num_workers))
    log = _Log(session, state, config.max_steps, description)
    module.train()
    before, opened = state.seconds, time.perf_counter()
    while state.step < config.max_steps and not state.cut:
        started = time.perf_counter()
        _set_learning_rate(optimizer, config, state.step)
        torch.manual_seed(_step_seed(config.seed, state.step, accelerator.process_index))
        loss, metrics, waited = _accumulate(wrapped, loader, config.accumulation, accelerator)
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), config.max_grad_norm)
        prepared_optimizer.step()
        prepared_optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.seconds = before + time.perf_counter() - opened
        log.add({"loss": loss, **metrics, "grad_norm": norm}, waited, time.perf_counter() - started)
        last = state.step == config.max_steps
        if last or state.step % config.log_every == 0:
            clips = config.batch_size * config.accumulation * accelerator.num_processes
            log.write(clips, optimizer.param_groups[0]["lr"] / groups[0]["lr_scale"])
            state.cut = not last and _over(config.max_seconds, state.seconds, accelerator)
        finished = last or state.cut
        if evaluation and (finished or state.step % evaluation.every == 0):
            _evaluate(module, evaluation, state, session, log)
        if finished or state.step % config.save_every == 0:
            _save(module, optimizer, state, session, config.keep_checkpoints, log)
    log.close()
    return state


def _accumulate(
    wrapped: nn.Module, loader: Iterator[Any], accumulation: int, accelerator: Accelerator
) -> tuple[Tensor, dict[str, Tensor], float]:
    """Gradients of one optimizer step; processes exchange them at the last micro-batch only."""
    losses: list[Tensor] = []
    output: StepOutput
    waited = 0.0
    for micro in range(accumulation):
        started = time.perf_counter()
        batch = send_to_device(next(loader), accelerator.device, non_blocking=True)
        waited += time.perf_counter() - started
        if micro < accumulation - 1:
            with accelerator.no_sync(wrapped):
                output = wrapped(batch)
                accelerator.backward(output.loss / accumulation)
        else:
            output = wrapped(batch)
            accelerator.backward(output.loss / accumulation)
        losses.append(output.loss.detach().float())
    return torch.stack(losses).mean(), output.metrics, waited


def _set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, step: int) -> None:
    factor = learning_rate_factor(step, config.warmup_steps, config.max_steps, config.final_lr)
    for group in optimizer.param_groups:
        group["lr"] = config.lr * factor * group["lr_scale"]


def _step_seed(seed: int, step: int, process: int) -> int:
    """For dropout and the like: a function of where the run is, not of how it came there."""
    return (seed * 1_000_003 + step) * 1_009 + process


def _evaluate(
    module: nn.Module, evaluation: Evaluation, state: TrainState, session: Session, log: "_Log"
) -> None:
    accelerator = session.accelerator
    results: list[dict[str, float] | None] = [None]
    if accelerator.is_main_process:
        module.eval()
        with torch.no_grad():
            results = [evaluation.run()]
        module.train()
    broadcast_object_list(results)
    metrics = results[0] or {}
    value = metrics[evaluation.metric]
    if state.best_value is None or value > state.best_value:
        state.best_step, state.best_value = state.step, value
        if accelerator.is_main_process:
            evaluation.save_best(state.step)
    log.write_line(metrics)
    accelerator.wait_for_everyone()


def _over(max_seconds: float | None, seconds: float, accelerator: Accelerator) -> bool:
    if max_seconds is None:
        return False
    clock = torch.tensor(seconds, device=accelerator.device)
    return accelerator.reduce(clock, "mean").item() > max_seconds


def _save(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
    session: Session,
    keep: int,
    log: "_Log",
) -> None:
    log.check_finite()
    if session.accelerator.is_main_process:
        document = {
            "train": asdict(state),
            "choices": session.choices,
            "identity": session.identity,
        }
        checkpoint = Checkpoint(module.state_dict(), optimizer_tensors(module, optimizer), document)
        save_checkpoint(session.output / "checkpoints", state.step, checkpoint, keep)
    session.accelerator.wait_for_everyone()


def _restore(module: nn.Module, optimizer: torch.optim.Optimizer, session: Session) -> TrainState:
    if session.checkpoint is None:
        return TrainState()
    module.load_state_dict(session.checkpoint.module)
    restore_optimizer(module, optimizer, session.checkpoint.optimizer)
    return TrainState(**{**session.checkpoint.state["train"], "cut": False})


class _Log:
    """Sums on the device, reads them at log steps only; writes metrics.jsonl and the bar."""

    def __init__(
        self, session: Session, state: TrainState, max_steps: int, description: str
    ) -> None:
        self.session = session
        self.state = state
        self.accelerator = session.accelerator
        self.path = session.output / "metrics.jsonl"
        if self.accelerator.is_main_process:
            _drop_lines_after(self.path, state.step)
        self.bar = progress_bar(
            max_steps,
            description,
            "step",
            initial=state.step,
            disable=not self.accelerator.is_main_process,
        )
        self.bad_step = torch.full((), -1.0, device=self.accelerator.device)
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.waited = self.seconds = 0.0

    def add(self, values: dict[str, Tensor], waited: float, seconds: float) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float()
        finite = torch.isfinite(values["loss"]) & torch.isfinite(values["grad_norm"])
        first = ~finite & (self.bad_step < 0)
        self.bad_step = torch.where(first, float(self.state.step), self.bad_step)
        self.count += 1
        self.waited += waited
        self.seconds += seconds
        self.bar.update()

    def check_finite(self) -> None:
        step = int(self.bad_step.item())
        if step >= 0:
            raise UserError(
                f"loss or gradient was not finite at step {step}: lower train.lr, or look for "
                "broken audio; the last checkpoint is from before"
            )

    def write(self, clips: int, lr: float) -> None:
        self.check_finite()
        means = {
            name: self.accelerator.reduce(total / self.count, "mean").item()
            for name, total in self.sums.items()
        }
        self.bar.set_postfix(loss=f"{means['loss']:.4f}", refresh=False)
        speed = {
            "lr": lr,
            "clips_per_second": clips * self.count / self.seconds,
            "data_wait_fraction": self.waited / self.seconds,
            "seconds": self.state.seconds,
        }
        self.write_line({**means, **speed})
        self._clear()

    def write_line(self, values: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.state.step, **values}) + "\n")

    def close(self) -> None:
        self.bar.close()


def _drop_lines_after(path: Path, step: int) -> None:
    """A killed run may have logged steps that its checkpoint does not have; they come again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break  # the line that was being written when the run was killed
    path.write_text("".join(kept), encoding="utf-8")


def _check_num_processes(num_processes: int) -> None:
    """A launcher's processes that don't find each other would train alone, each on everything."""
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes != announced:
        raise UserError(
            f"the launcher announced {announced} processes, {num_processes} found each other: "
            "start with torchrun --nproc_per_node=N -m ssl_audio ..."
        )


def _probe(
    config: TrainConfig, encoder_config: AudioEncoderConfig, tokens: int, device: torch.device
) -> dict[str, Any]:
    precision = choose_precision(device) if config.precision == "auto" else config.precision
    attention = (
        choose_attention(encoder_config, tokens, device, precision)
        if config.attention == "auto"
        else config.attention
    )
    return {
        "precision": precision,
        "attention": attention,
        "threads": torch.get_num_threads(),
    }


def _refuse_other_run(now: dict[str, Any], then: dict[str, Any]) -> None:
    for key in sorted(now.keys() | then.keys()):
        if key.rsplit(".", 1)[-1] not in _FREE_TO_CHANGE and now.get(key) != then.get(key):
            raise UserError(
                f"can't resume: {key} was {then.get(key)!r} and is now {now.get(key)!r}; "
                "use the same value or another --output"
            )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
