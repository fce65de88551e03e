"""Which of the encoder's levels the classifier reads."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

LevelName = Literal["last", "weighted"] | Annotated[int, Field(ge=0)]
"""The normed output; a learned weighted sum of all; or one by its number, where 0 is the input of
the first block and n the output of the n-th."""


class LevelMixture(nn.Module):
    """A learned weighted mean of every level's tokens, each brought to the same scale first.

    Args:
        num_levels: blocks and the input of the first.

    Source: Yang et al. 2021 (SUPERB), section 3; layer-normed as its toolkit offers.
    """

    def __init__(self, num_levels: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(num_levels))

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """(batch, tokens, dim) of each level to one of the same shape, float32."""
        weights = self.scores.softmax(0)
        mixed = torch.zeros_like(levels[0], dtype=torch.float32)
        for weight, level in zip(weights, levels, strict=True):
            mixed = mixed + weight * functional.layer_norm(level.float(), level.shape[-1:])
        return mixed
