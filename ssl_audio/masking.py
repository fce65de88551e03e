"""Which patches are hidden from the encoder."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
