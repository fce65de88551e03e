"""Parameter groups, and the learning rate as a pure function of the step."""

import math
from typing import Any

from torch import nn


def learning_rate_factor(step: int, warmup_steps: int, max_steps: int, final: float) -> float:
    """Linear warm-up, then half a cosine down to ``final``.

    Args:
        step: about to be taken, from 0.
        warmup_steps: the factor reaches 1 at this step.
        max_steps: the factor reaches ``final`` at this step.
        final: in [0, 1].

    Source: Loshchilov and Hutter 2017 (SGDR), eq. 5, one cycle.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable weights in two groups: matrices decay; biases, norms and tokens do not.

    Every group carries ``lr_scale``, by which the loop multiplies the learning rate.
    """
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (matrices if parameter.squeeze().ndim >= 2 else rest).append(parameter)
    groups = [(matrices, weight_decay), (rest, 0.0)]
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": 1.0}
        for parameters, decay in groups
        if parameters
    ]


def layer_decay_groups(
    encoder_layers: list[list[nn.Parameter]],
    head: list[nn.Parameter],
    weight_decay: float,
    layer_decay: float,
) -> list[dict[str, Any]]:
    """Groups whose learning rate falls by ``layer_decay`` per level from the head down.

    Args:
        encoder_layers: weights per level, from the input upwards.
        head: weights above the encoder, at the full rate.
        weight_decay: for matrices.
        layer_decay: in (0, 1]; 1 is one rate for all.

    Source: Clark et al. 2020 (ELECTRA), appendix A; Bao et al. 2022 (BEiT).
    """
    levels = [*encoder_layers, head]
    groups = []
    for depth, parameters in enumerate(reversed(levels)):
        for group in parameter_groups(nn.ParameterList(parameters), weight_decay):
            groups.append({**group, "lr_scale": layer_decay**depth})
    return groups
