"""A run folder opened for training: processes, choices made by probing, what to resume."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from pydantic import Field

from ssl_audio.allocation import keep_freed_memory
from ssl_audio.checkpoint import Checkpoint, load_newest
from ssl_audio.config import Config
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import UserError
from ssl_audio.probing import Precision, choose_attention, choose_precision
from ssl_audio.run_record import git_commit
from ssl_audio.sharding import check_sharding, shard_on_cpu_too
from ssl_audio.trackers import check_trackers, start_trackers


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
        gradient_checkpointing: blocks compute what they need for the backward pass a second time
            instead of keeping it: less memory, more time, the same gradients.
        compile: stacks of blocks are compiled by torch when they are first used.
        num_workers: processes that assemble batches; 0 is this one.
        log_every: steps between lines of ``metrics.jsonl``.
        save_every: steps between checkpoints.
        keep_checkpoints: how many stay on disk.
        max_seconds: stop early after this time and say so; None is no limit.
        trackers: what else gets the lines of ``metrics.jsonl``, by accelerate's name for it, e.g.
            ``tensorboard``.
    """

    seed: int = 0
    max_steps: int = Field(default=1000, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    batch_size: int = Field(default=64, gt=0)
    accumulation: int = Field(default=1, gt=0)
    lr: float = Field(default=5e-4, gt=0)
    final_lr: float = Field(default=0.01, ge=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    max_grad_norm: float = Field(default=3.0, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    num_workers: int = Field(default=0, ge=0)
    log_every: int = Field(default=20, gt=0)
    save_every: int = Field(default=200, gt=0)
    keep_checkpoints: int = Field(default=2, gt=0)
    max_seconds: float | None = Field(default=None, gt=0)
    trackers: tuple[str, ...] = ()


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


FREE_TO_CHANGE = {"num_workers", "log_every", "keep_checkpoints", "max_seconds", "trackers"}
FREE_SECTIONS = {"watch", "monitor", "timeline"}
"""They look at a run and change nothing of its weights."""


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
        UserError: the folder holds another run, the checkpoint's run differs, with the key, or
            processes found different checkpoints.
    """
    git_commit()  # of the code that is running, before others are made
    check_trackers(train_config.trackers)
    state = PartialState(cpu=not torch.cuda.is_available())
    _check_num_processes(state.num_processes)
    identity = {
        "data_fingerprint": data_fingerprint,
        "device": state.device.type,
        "num_processes": state.num_processes,
        **_flatten(config.model_dump(mode="json")),
    }
    folder = output / "checkpoints"
    if not resume and (folder.exists() or (output / "run.json").exists()):
        raise UserError(f"{output} already holds a run: pass --resume or another --output")
    checkpoint = _load_together(folder) if resume else None
    if resume and checkpoint is None and state.is_main_process:
        print(f"nothing to resume in {output}: starting at step 0", file=sys.stderr)
    if checkpoint is not None:
        _refuse_other_run(identity, checkpoint.state["identity"])
    choices: list[Any] = [checkpoint.state["choices"] if checkpoint else None]
    if choices[0] is None and state.is_main_process:
        choices = [_probe(train_config, encoder_config, tokens, state.device)]
    broadcast_object_list(choices)
    chosen: dict[str, Any] = choices[0]
    torch.set_num_threads(chosen["threads"])
    output.mkdir(parents=True, exist_ok=True)
    accelerator = start_accelerator(chosen["precision"], train_config.trackers, output)
    start_trackers(accelerator, identity)
    return Session(output, accelerator, chosen, identity, checkpoint)


def start_accelerator(
    precision: Precision, trackers: Sequence[str] = (), output: Path | None = None
) -> Accelerator:
    """Device, processes and autocast of one training, whatever another one of this process used.

    Args:
        precision: of autocast.
        trackers: by accelerate's names.
        output: the run's folder, where trackers of this machine write.
    """
    keep_freed_memory()
    # accelerate keeps one precision for each process and has no public way to change it.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        log_with=list(trackers) or None,
        project_dir=output,
    )
    shard_on_cpu_too(accelerator)
    check_sharding(accelerator)
    return accelerator


def _check_num_processes(num_processes: int) -> None:
    """A launcher's processes that don't find each other would train alone, each on everything."""
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes != announced:
        raise UserError(
            f"the launcher announced {announced} processes, {num_processes} found each other: "
            "start with torchrun --nproc_per_node=N -m ssl_audio ..."
        )


def _load_together(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint, which has to be the same for all processes.

    Each reads it for itself, and where they share no folder, or one is behind, they differ.
    """
    checkpoint, refused, found = None, None, "none"
    try:
        checkpoint = load_newest(folder)
    except UserError as error:  # told only after the others, which would wait for this one
        refused, found = error, "none whole"
    if checkpoint is not None:
        hashes = "-".join(value[:6] for value in checkpoint.state["sha256"].values())
        found = f"step {checkpoint.state['step']} ({hashes})"
    everywhere = gather_object([found])
    if len(set(everywhere)) > 1:
        raise UserError(
            f"can't resume: processes found different checkpoints in {folder}: "
            f"{', '.join(everywhere)}; give all of them the same files"
        )
    if refused is not None:
        raise refused
    return checkpoint


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
        section, name = key.split(".", 1)[0], key.rsplit(".", 1)[-1]
        is_free = section in FREE_SECTIONS or name in FREE_TO_CHANGE
        if not is_free and now.get(key) != then.get(key):
            raise UserError(
                f"can't resume: {key} was {_say(then, key)} and is now {_say(now, key)}; go on "
                "with the same settings and version, or give another --output"
            )


def _say(values: dict[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "not there"


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
