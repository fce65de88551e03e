"""Which patches are hidden from the encoder."""

from dataclasses import dataclass
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
    """

    mask: Literal["random", "block", "inverse_block"] = "random"
    mask_ratio: float = Field(default=0.75, ge=0, lt=1)
    mask_block: int = Field(default=5, gt=0)
    num_masks: int = Field(default=1, gt=0)


@dataclass(frozen=True)
class Masked:
    """A mask over a batch of patches.

    Attributes:
        mask: (batch, num_patches) bool, True = hidden from the encoder; padding is never hidden.
        ids_keep: (batch, num_kept) int64, visible patches in rising order; rows with fewer visible
            patches are filled up.
        keep_padding_mask: (batch, num_kept) bool, True = filled up, ignore.
    """

    mask: Tensor
    ids_keep: Tensor
    keep_padding_mask: Tensor


def random_mask(noise: Tensor, mask_ratio: float, padding_mask: Tensor) -> Masked:
    """Hides the share ``mask_ratio`` of each clip's valid patches, at least one visible.

    Args:
        noise: (batch, num_patches) float, uniform; the patches with the smallest stay visible.
        mask_ratio: in [0, 1).
        padding_mask: (batch, num_patches) bool, True = padding.

    Source: He et al. 2022 (MAE), section 3; counts per clip because clips differ in length.
    """
    num_valid = (~padding_mask).sum(1)
    num_keep = (num_valid.double() * (1.0 - mask_ratio)).round().long().clamp(1)
    rank = noise.masked_fill(padding_mask, torch.inf).argsort(dim=1, stable=True)
    place = torch.arange(noise.shape[1], device=noise.device)
    kept = torch.zeros_like(padding_mask).scatter(1, rank, place < num_keep[:, None])
    # Visible patches first, each group in its own order. The width needs no synchronisation: it is
    # the share of the whole grid, which a clip without padding reaches.
    width = max(1, round(noise.shape[1] * (1.0 - mask_ratio)))
    ids_keep = (~kept).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
    keep_padding_mask = place[:width] >= num_keep[:, None]
    return Masked(~kept & ~padding_mask, ids_keep, keep_padding_mask)


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
    is_random = config.mask == "random"
    count = grid.num_patches if is_random else count_blocks(grid, config.mask_block)
    noise = torch.cat([uniform(keys, Stream.MASK, count, view) for view in range(config.num_masks)])
    if not is_random:
        noise = block_noise(noise, grid, config.mask_block)
    return random_mask(
        1 - noise if config.mask == "block" else noise,
        config.mask_ratio,
        padding_mask.repeat(config.num_masks, 1),
    )


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
