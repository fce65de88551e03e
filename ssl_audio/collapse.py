"""A watch on collapse: which stage of a model stopped telling clips or moments apart.

A falling loss can hide a collapse, and a healthy spread at the output one further down. So every
stage is looked at, from the sound to the answers, and the first that fails is named.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ssl_audio.config import Config
from ssl_audio.objectives.base import Level, Objective
from ssl_audio.pooling import mean_std_pool


class WatchConfig(Config):
    """How often and at how much a watch looks.

    Attributes:
        every: optimizer steps between looks, beside the one before the first step; 0 never looks.
        clips: of the batch, the first ones.
    """

    every: int = Field(default=20, ge=0)
    clips: int = Field(default=16, gt=1)


class CollapseWatch:
    """Looks at an objective's stages on a few clips of the batch, in float32, without gradients."""

    def __init__(self, objective: Objective, config: WatchConfig) -> None:
        self.objective = objective
        self.config = config

    def due(self, step: int) -> bool:
        """At the first step and at every so many-th."""
        every = self.config.every
        return every > 0 and (step == 1 or step % every == 0)

    @torch.no_grad()
    def measure(self, batch: Any) -> dict[str, Tensor]:
        """``level/measure`` of every level, see ``measure_level``, and ``embedding/rank``."""
        few = {name: value[: self.config.clips] for name, value in batch.items()}
        levels = self.objective.inspect(few)
        values = {
            f"{name}/{measure}": value
            for name, level in levels.items()
            for measure, value in measure_level(level).items()
        }
        return {**values, "embedding/rank": effective_rank(levels["embedding"])}

    def judge(self, step: int, values: dict[str, float], first: dict[str, float]) -> None:
        """See ``Watch``."""


def measure_level(level: Level) -> dict[str, Tensor]:
    """How a stage spreads: scalars float32.

    Returns:
        ``scale``, the root mean square of all values; ``over_clips``, the standard deviation over
        clips at the same place, and ``over_places``, within a clip, both root mean squares over the
        rest; NaN where nothing is counted, or values are not finite.
    """
    vectors = level.vectors.float()
    counted = level.counted[..., None]
    rows = counted.sum() * vectors.shape[-1]
    kept = torch.where(counted, vectors, 0.0)
    return {
        "scale": (kept.square().sum() / rows).sqrt(),
        "over_clips": _deviation(kept, counted, 0),
        "over_places": _deviation(kept, counted, 1),
    }


def _deviation(kept: Tensor, counted: Tensor, axis: int) -> Tensor:
    """Standard deviation along an axis where it counts at least two: scalar."""
    number = counted.sum(axis, keepdim=True)
    mean = kept.sum(axis, keepdim=True) / number.clamp(1)
    compared = counted & (number > 1)
    square = torch.where(compared, kept - mean, 0.0).square().sum()
    return (square / (compared.sum() * kept.shape[-1]).clamp(1)).sqrt()


def effective_rank(level: Level) -> Tensor:
    """Of the clips' pooled vectors, as ``probes.rank_me`` counts it: scalar float32."""
    pooled = mean_std_pool(level.vectors.float(), ~level.counted)
    singular = torch.linalg.svdvals((pooled - pooled.mean(0)).nan_to_num(0.0, 0.0, 0.0))
    share = singular / singular.sum().clamp(1e-12) + 1e-7
    return (-(share * share.log()).sum()).exp()
