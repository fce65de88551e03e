"""Checkpoints: written aside, flushed, verified, then renamed; safetensors and JSON only.

A checkpoint is a folder ``step-00000100`` with ``module.safetensors``, ``optimizer.safetensors``
and ``state.json``, which holds the hashes of all three. A torn or altered one is refused by
name and the one before it is used.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_audio.errors import UserError
from ssl_audio.sharding import cut_like, whole

_FILES = ("module.safetensors", "optimizer.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped."""

    module: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint, keep: int) -> Path:
    """Writes ``folder/step-<step>`` atomically and removes all but the newest ``keep``."""
    target = folder / f"step-{step:08d}"

    def write(aside: Path) -> None:
        for name, tensors in zip(_FILES, (checkpoint.module, checkpoint.optimizer), strict=True):
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, aside / name)
        hashes = {name: file_sha256(aside / name) for name in _FILES}
        state = {"step": step, "sha256": hashes, **checkpoint.state}
        (aside / "state.json").write_text(_state_text(state), encoding="utf-8")
        load_checkpoint(aside)

    write_folder(target, write)
    # Steps after this one are of a run that was resumed from before them.
    stale = [path for path in list_checkpoints(folder) if path.name > target.name]
    current = [path for path in list_checkpoints(folder) if path.name <= target.name]
    for path in [*stale, *current[:-keep]]:
        shutil.rmtree(path)
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads and verifies one checkpoint.

    Raises:
        UserError: torn or altered, with what is wrong.
    """
    try:
        state = _read_state(path)
        for name in _FILES:
            if file_sha256(path / name) != state["sha256"][name]:
                raise UserError(f"checkpoint {path}: {name} is torn or was altered")
        module, optimizer = (load_file(path / name) for name in _FILES)
        return Checkpoint(module, optimizer, state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"checkpoint {path} can't be read: {error!r}") from None


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint below ``folder``, after saying which newer ones it refused.

    Returns:
        None if there are no checkpoints.

    Raises:
        UserError: there are checkpoints, and none is whole.
    """
    refused = []
    for path in reversed(list_checkpoints(folder)):
        try:
            checkpoint = load_checkpoint(path)
        except UserError as error:
            refused.append(str(error))
            continue
        for reason in refused:
            print(f"refused, using {path.name} instead: {reason}", file=sys.stderr)
        return checkpoint
    if refused:
        raise UserError(f"{folder} holds no whole checkpoint: {'; '.join(refused)}")
    return None


def read_states(folder: Path) -> list[dict[str, Any]]:
    """What the checkpoints below ``folder`` say of themselves, without their tensors.

    One that can't be resumed from says nothing.
    """
    states = []
    for path in list_checkpoints(folder):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            states.append(_read_state(path))
    return states


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Makes ``target`` appear whole or not at all: filled aside, flushed to disk, then renamed.

    An existing ``target`` is replaced.
    """
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    for path in [*aside.rglob("*"), aside]:
        _flush(path)
    if target.exists():
        replaced = target.with_name(f".{target.name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
        aside.rename(target)
        shutil.rmtree(replaced)
    else:
        aside.rename(target)
    _flush(target.parent)


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by the names of the module's weights: ``name::exp_avg`` and so on.

    To be called by all processes if the weights are sharded.
    """
    names: dict[Tensor, str] = {weight: name for name, weight in module.named_parameters()}
    return {
        f"{names[parameter]}::{key}": whole(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Inverse of ``optimizer_tensors``."""
    parameters = dict(module.named_parameters())
    for name, value in tensors.items():
        weight, key = name.rsplit("::", 1)
        parameter = parameters[weight]
        # AdamW's step counter stays where a fused optimizer wants it: with the weight.
        optimizer.state[parameter][key] = cut_like(value.to(parameter.device), parameter)


def list_checkpoints(folder: Path) -> list[Path]:
    """Folders of checkpoints below ``folder``, the oldest first; they may be torn."""
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _state_text(state: dict[str, Any]) -> str:
    sha256 = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    return json.dumps({"state": state, "state_sha256": sha256}, indent=1)


def _read_state(path: Path) -> dict[str, Any]:
    text = (path / "state.json").read_text(encoding="utf-8")
    state: dict[str, Any] = json.loads(text)["state"]
    if text != _state_text(state):
        raise UserError(f"checkpoint {path}: state.json was altered")
    return state


def file_sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
