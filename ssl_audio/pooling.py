"""From tokens to one vector per clip; padding never counts."""

from typing import Literal

import torch
from torch import Tensor, nn

PoolingName = Literal["mean", "mean_std", "attention", "cls"]


def mean_pool(tokens: Tensor, padding_mask: Tensor) -> Tensor:
    """(batch, num_tokens, dim) -> (batch, dim), mean over valid tokens."""
    valid = (~padding_mask)[:, :, None]
    return torch.where(valid, tokens, 0.0).sum(1) / valid.sum(1).clamp(1)


def mean_std_pool(tokens: Tensor, padding_mask: Tensor) -> Tensor:
    """(batch, num_tokens, dim) -> (batch, 2 dim), mean and standard deviation over valid tokens.

    The deviation is of the population, so that a clip of one token has zeros and not NaN.
    """
    mean = mean_pool(tokens, padding_mask)
    variance = mean_pool((tokens - mean[:, None]).square(), padding_mask)
    # The root's slope is infinite at 0, where a one-token clip lies.
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


class Pooling(nn.Module):
    """Pools by name.

    Args:
        name: ``mean``, ``mean_std``, ``attention`` (learned weights, one head) or ``cls``.
        dim: of a token.
    """

    def __init__(self, name: PoolingName, dim: int) -> None:
        super().__init__()
        self.name = name
        self.output_dim = 2 * dim if name == "mean_std" else dim
        self.score = nn.Linear(dim, 1) if name == "attention" else None

    def forward(self, tokens: Tensor, cls: Tensor, padding_mask: Tensor) -> Tensor:
        """(batch, num_tokens, dim), (batch, dim), (batch, num_tokens) -> (batch, output_dim)."""
        if self.score is not None:
            scores = self.score(tokens).squeeze(2).masked_fill(padding_mask, -torch.inf)
            return torch.einsum("bt,btd->bd", scores.softmax(1), tokens)
        if self.name == "cls":
            return cls
        pool = mean_pool if self.name == "mean" else mean_std_pool
        return pool(tokens.float(), padding_mask)
