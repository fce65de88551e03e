"""Which patches are hidden from the encoder, and which of these are to be predicted."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from ssl_audio.config import Config
from ssl_audio.draws import Stream, uniform
from ssl_audio.patches import Grid


class MaskingConfig(Config):
    """Which patches of every clip are hidden, and how often a clip is hidden anew.

    Attributes:
        mask: single patches, hidden blocks, or visible blocks (inverse).
        mask_ratio: share of valid patches hidden from the encoder.
        mask_block: patches along each side of a block.
        num_masks: masks of every clip in one step.
        prediction_ratio: share of hidden patches that are predicted, others under every mask; the
            rest is neither predicted nor decoded by a transformer.

    Source: the idea of Fu et al. 2025, "Rethinking Patch Dependence for Masked Autoencoders"
    (CrossMAE), for the prediction ratio. We differ: there each hidden patch hears visible ones
    alone, here those that are predicted together hear each other.
    """

    mask: Literal["random", "block", "inverse_block"] = "random"
    mask_ratio: float = Field(default=0.75, ge=0, lt=1)
    mask_block: int = Field(default=5, gt=0)
    num_masks: int = Field(default=1, gt=0)
    prediction_ratio: float = Field(default=1.0, gt=0, le=1)


@dataclass(frozen=True)
class Masked:
    """A mask over a batch of patches.

    Attributes:
        mask: (batch, num_patches) bool, True = hidden from the encoder; padding is never hidden.
        ids_keep: (batch, num_kept) int64, visible patches in rising order; rows with fewer visible
            patches are filled up.
        keep_padding_mask: (batch, num_kept) bool, True = filled up, ignore.
        ids_predict: (batch, num_predicted) int64, hidden patches to be predicted in rising order;
            rows with fewer are filled up with others.
        predict_padding_mask: (batch, num_predicted) bool, True = filled up, ignore.
    """

    mask: Tensor
    ids_keep: Tensor
    keep_padding_mask: Tensor
    ids_predict: Tensor
    predict_padding_mask: Tensor


def random_mask(noise: Tensor, mask_ratio: float, padding_mask: Tensor) -> Masked:
    """Hides the share ``mask_ratio`` of each clip's valid patches, at least one visible.

    All that is hidden is to be predicted.

    Args:
        noise: (batch, num_patches) float, uniform; the patches with the smallest stay visible.
        mask_ratio: in [0, 1).
        padding_mask: (batch, num_patches) bool, True = padding.

    Source: He et al. 2022 (MAE), section 3; counts per clip because clips differ in length.
    """
    num_valid, num_patches = (~padding_mask).sum(1), padding_mask.shape[1]
    num_keep = (num_valid.double() * (1.0 - mask_ratio)).round().long().clamp(1)
    kept = _smallest(noise, num_keep, padding_mask)
    hidden = ~kept & ~padding_mask
    # Widths need no synchronisation: they are shares of the whole grid, which a clip without
    # padding reaches.
    width = max(1, round(num_patches * (1.0 - mask_ratio)))
    return Masked(
        hidden, *_list_places(kept, width), *_list_places(hidden, max(1, num_patches - width))
    )


def predict_some(masked: Masked, noise: Tensor, prediction_ratio: float) -> Masked:
    """Leaves the share ``prediction_ratio`` of each clip's hidden patches to be predicted.

    Args:
        masked: under which all hidden ones are.
        noise: (batch, num_patches) float, uniform; the hidden patches with the smallest are taken.
        prediction_ratio: in (0, 1]; of a clip that has hidden patches at least one is taken.
    """
    num_hidden = masked.mask.sum(1)
    num_predicted = (num_hidden.double() * prediction_ratio).round().long().clamp(1)
    chosen = _smallest(noise, num_predicted.minimum(num_hidden), ~masked.mask)
    width = max(1, round(masked.ids_predict.shape[1] * prediction_ratio))
    ids_predict, predict_padding_mask = _list_places(chosen, width)
    return replace(masked, ids_predict=ids_predict, predict_padding_mask=predict_padding_mask)


def _smallest(noise: Tensor, count: Tensor, left_out: Tensor) -> Tensor:
    """(batch, num_patches) bool: the ``count`` (batch,) patches with the smallest noise."""
    rank = noise.masked_fill(left_out, torch.inf).argsort(dim=1, stable=True)
    place = torch.arange(noise.shape[1], device=noise.device)
    return torch.zeros_like(left_out).scatter(1, rank, place < count[:, None])


def _list_places(chosen: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Places where ``chosen`` (batch, num_patches), in rising order, and what only fills up.

    Returns:
        (batch, width) int64 and bool.
    """
    places = (~chosen).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
    return places, ~chosen.take_along_dim(places, dim=1)


def draw_masks(keys: Tensor, config: MaskingConfig, grid: Grid, padding_mask: Tensor) -> Masked:
    """``num_masks`` masks of every clip, a pure function of the clips' keys.

    Args:
        keys: (batch,) int64, see ``draws``.
        config: which kind.
        grid: of the patches.
        padding_mask: (batch, num_patches) bool, True = padding.

    Returns:
        Of num_masks * batch rows: all clips with their first mask, then all with their second.
    """

    def draw(stream: Stream, count: int) -> Tensor:
        return torch.cat([uniform(keys, stream, count, view) for view in range(config.num_masks)])

    if config.mask == "random":
        noise = draw(Stream.MASK, grid.num_patches)
    else:
        noise = draw(Stream.MASK, count_blocks(grid, config.mask_block))
        noise = block_noise(noise, grid, config.mask_block)
    masked = random_mask(
        1 - noise if config.mask == "block" else noise,
        config.mask_ratio,
        padding_mask.repeat(config.num_masks, 1),
    )
    if config.prediction_ratio == 1:
        return masked
    chosen_by = draw(Stream.PREDICTED, grid.num_patches)
    return predict_some(masked, chosen_by, config.prediction_ratio)


def count_blocks(grid: Grid, block: int) -> int:
    """How many blocks touch the grid, for each of which ``block_noise`` is given a number.

    Args:
        grid: of the patches.
        block: patches along each side.
    """
    return _blocks_in_column(grid, block) * (grid.time_patches + block - 1)


def _blocks_in_column(grid: Grid, block: int) -> int:
    return 1 if block >= grid.freq_patches else grid.freq_patches + block - 1


def block_noise(noise: Tensor, grid: Grid, block: int) -> Tensor:
    """The smallest noise of all blocks that cover a patch: (batch, num_patches).

    Patches with small values lie in blocks, so that taking any number of the smallest takes whole
    blocks, of which the last one may be cut and any may overlap. Blocks begin before the grid too,
    so that as many cover a patch at its edge as one amid it, and all are hidden nearly equally
    often: of three quarters, 71 to 78 % at every place, least at the edges.

    Args:
        noise: (batch, count_blocks(grid, block)), of every block that touches the grid,
            frequency-major; a block that is as high as the grid or higher covers columns whole.
        grid: of the patches.
        block: patches along each side.

    Source: the idea of Baevski et al. 2022 (data2vec 2.0), section 3.2, where blocks stay visible.
    We differ: a clip has exactly the share of hidden patches that was asked for.
    """
    rows = _blocks_in_column(grid, block)
    picture = noise.unflatten(1, (1, rows, -1))
    smallest = -functional.max_pool2d(-picture, (1 if rows == 1 else block, block), stride=1)
    return smallest.expand(-1, -1, grid.freq_patches, -1).flatten(1)
