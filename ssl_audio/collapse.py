"""A watch on collapse: which stage of a model stopped telling clips or moments apart.

A falling loss can hide a collapse, and a healthy spread at the output one further down. So every
stage is looked at, from the sound to the answers, and the first that fails is named.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ssl_audio.alarm import CollapseError
from ssl_audio.config import Config
from ssl_audio.failing import MOST_STILL, find_failure
from ssl_audio.objectives.base import Level, Objective
from ssl_audio.pooling import mean_std_pool

_FEWEST_CLIPS = 4


class WatchConfig(Config):
    """How often and at how much a watch looks.

    Attributes:
        every: optimizer steps between looks, beside the one before the first step; 0 never looks.
        clips: of the batch, the first ones; under four of them are not compared with each other,
            and not judged where half of them are silent: that may be one clip.
    """

    every: int = Field(default=20, ge=0)
    clips: int = Field(default=16, gt=0)


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
        """``level/measure`` of every level, see ``measure_level``, and of some more.

        ``waveform/still`` is the share of clips without any variation, ``embedding/rank`` see
        ``effective_rank``.
        """
        few = {name: value[: self.config.clips] for name, value in batch.items()}
        levels = self.objective.inspect(few)
        values = {
            f"{name}/{measure}": value
            for name, level in levels.items()
            for measure, value in measure_level(level).items()
        }
        values["waveform/still"] = share_of_still(levels["waveform"])
        if len(levels["embedding"].vectors) >= _FEWEST_CLIPS:
            values["embedding/rank"] = effective_rank(levels["embedding"])
        return values

    def judge(self, step: int, values: dict[str, float], first: dict[str, float]) -> None:
        """See ``Watch``.

        Raises:
            CollapseError: with the first level of those in ``values`` that failed.
        """
        if "embedding/rank" not in values:  # under four clips: silence may be one clip's
            if values["waveform/still"] >= MOST_STILL:
                return
            if first["waveform/still"] >= MOST_STILL:
                first.update(values)  # what changes is told by the first look at sound
        failure = find_failure(values, first)
        if failure is not None:
            raise CollapseError(failure.level, step, failure.what)


def measure_level(level: Level) -> dict[str, Tensor]:
    """How a stage spreads: scalars float32.

    Returns:
        ``scale``, the root mean square of all values, 0 if nothing is counted; ``over_clips``, the
        standard deviation over clips at the same place, if there are at least four, and
        ``over_places``, within a clip, if it has several: both root mean squares over the rest,
        divided by the scale, and NaN where no two that are counted could be compared.
    """
    vectors = level.vectors.float()
    counted = level.counted[..., None]
    kept = torch.where(counted, vectors, 0.0)
    number = (counted.sum() * vectors.shape[-1]).clamp(1)
    scale = (kept.square().sum() / number).sqrt()
    unit = scale.clamp(torch.finfo(torch.float32).tiny)
    values = {"scale": scale}
    if len(vectors) >= _FEWEST_CLIPS:
        values["over_clips"] = _deviation(kept, counted, 0) / unit
    if vectors.shape[1] > 1:
        values["over_places"] = _deviation(kept, counted, 1) / unit
    return values


def _deviation(kept: Tensor, counted: Tensor, axis: int) -> Tensor:
    """Standard deviation along an axis where it counts at least two, else NaN: scalar."""
    number = counted.sum(axis, keepdim=True)
    mean = kept.sum(axis, keepdim=True) / number.clamp(1)
    compared = counted & (number > 1)
    square = torch.where(compared, kept - mean, 0.0).square().sum()
    return (square / (compared.sum() * kept.shape[-1])).sqrt()


def share_of_still(waveform: Level) -> Tensor:
    """Share of clips of which every counted sample is the same: scalar float32."""
    samples = waveform.vectors[..., 0]
    low = torch.where(waveform.counted, samples, torch.inf).amin(1)
    high = torch.where(waveform.counted, samples, -torch.inf).amax(1)
    return (low >= high).float().mean()


def effective_rank(level: Level) -> Tensor:
    """Of the clips' pooled vectors, as ``probes.rank_me`` counts it: scalar float32."""
    pooled = mean_std_pool(level.vectors.float(), ~level.counted)
    singular = torch.linalg.svdvals((pooled - pooled.mean(0)).nan_to_num(0.0, 0.0, 0.0))
    share = singular / singular.sum().clamp(1e-12) + 1e-7
    return (-(share * share.log()).sum()).exp()
