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
    noise = torch.cat(
        [uniform(keys, Stream.MASK, grid.num_patches, view) for view in range(config.num_masks)]
    )
    padding_mask = padding_mask.repeat(config.num_masks, 1)
    if config.mask != "random":
        noise = block_noise(noise.masked_fill(padding_mask, 1.0), grid, config.mask_block)
    return random_mask(
        1 - noise if config.mask == "block" else noise, config.mask_ratio, padding_mask
    )


def block_noise(noise: Tensor, grid: Grid, block: int) -> Tensor:
    """The smallest noise of all blocks that cover a patch: (batch, num_patches) to the same.

    Patches with small values lie in blocks, so that taking any number of the smallest takes whole
    blocks, of which the last one may be cut and any may overlap.

    Args:
        noise: (batch, num_patches), of the block that begins at each patch.
        grid: of the patches.
        block: patches along each side; a grid's narrower side is covered whole.

    Source: the idea of Baevski et al. 2022 (data2vec 2.0), section 3.2, where blocks stay visible.
    We differ: a clip has exactly the share of hidden patches that was asked for.
    """
    height, width = min(block, grid.freq_patches), min(block, grid.time_patches)
    picture = noise.unflatten(1, (1, grid.freq_patches, grid.time_patches))
    before = functional.pad(picture, (width - 1, 0, height - 1, 0), value=1.0)
    return -functional.max_pool2d(-before, (height, width), stride=1).flatten(1)
