"""How weights and sounds are broken."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.collapse.case import Hold, Spoil
from ssl_audio.objectives import Batch, Objective


def fill(*parts: str, weight: float = 0.0, bias: float = 0.0) -> Hold:
    """All weights of some parts' layers the same, and all biases."""

    def hold(objective: Objective) -> None:
        with torch.no_grad():
            for part in parts:
                for name, parameter in objective.get_submodule(part).named_parameters():
                    parameter.fill_(bias if name.endswith("bias") else weight)

    return hold


def scale(part: str, factor: float) -> Hold:
    """A part's weights times a factor, again at every step."""

    def hold(objective: Objective) -> None:
        with torch.no_grad():
            for parameter in objective.get_submodule(part).parameters():
                parameter.mul_(factor)

    return hold


def on_output(part: str, change: Callable[[Tensor], Tensor]) -> Hold:
    """Changes what a part gives, once and for all."""

    def build(objective: Objective) -> None:
        objective.get_submodule(part).register_forward_hook(
            lambda module, inputs, output: change(output)
        )

    return build


def scale_gradients(factor: float) -> Hold:
    """All gradients times a factor, at every step."""

    def build(objective: Objective) -> None:
        for parameter in objective.parameters():
            if parameter.requires_grad:
                parameter.register_hook(lambda gradient: gradient * factor)

    return build


def fill_buffer(name: str, value: float) -> Hold:
    """A buffer by its name, e.g. ``quantizer.centres``."""

    def build(objective: Objective) -> None:
        objective.get_buffer(name).fill_(value)

    return build


def set_samples(value: float, share: float = 1.0) -> Spoil:
    """The first clips of every batch hold this value only; NaN and infinity make it float."""

    def spoil(batch: Batch) -> Batch:
        waveform = batch["waveform"].clone()
        if not float(value).is_integer():
            waveform = waveform.float()
        waveform[: round(share * len(waveform))] = value
        return {**batch, "waveform": waveform}

    return spoil


def repeat_first(batch: Batch) -> Batch:
    """Every clip sounds like the first one, as when a reader forgets to move on."""
    names = ("waveform", "num_samples")
    return {**batch, **{name: batch[name][:1].expand_as(batch[name]) for name in names}}


def merge_clips(tokens: Tensor) -> Tensor:
    """The first token of every clip is the batch's mean."""
    return torch.cat(
        [tokens[:, :1].mean(0, keepdim=True).expand_as(tokens[:, :1]), tokens[:, 1:]], 1
    )


def flatten_tokens(tokens: Tensor) -> Tensor:
    """All vectors along one direction, as long as before in it."""
    direction = torch.ones(tokens.shape[-1]) / tokens.shape[-1] ** 0.5
    direction[::2] *= -1
    return (tokens @ direction)[..., None] * direction
