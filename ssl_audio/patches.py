"""The patch grid: cutting a spectrogram into patches, putting it together again, positions."""

import math
from dataclasses import dataclass

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Grid:
    """How many patches lie along each axis; patches are counted frequency-major."""

    freq_patches: int
    time_patches: int

    @property
    def num_patches(self) -> int:
        """All of them."""
        return self.freq_patches * self.time_patches


def patchify(log_mel: Tensor, patch_size: tuple[int, int]) -> tuple[Tensor, Grid]:
    """Cuts a spectrogram into patches.

    Args:
        log_mel: (batch, mel, frames), both axes multiples of ``patch_size``.
        patch_size: (mel, frames).

    Returns:
        patches (batch, num_patches, mel * frames of a patch), frequency-major, and their grid.

    Raises:
        ValueError: an axis is no multiple.
    """
    mel, frames = log_mel.shape[1:]
    if mel % patch_size[0] or frames % patch_size[1]:
        raise ValueError(
            f"log_mel must have axes (mel, frames) that are multiples of {patch_size}, "
            f"got {(mel, frames)}"
        )
    grid = Grid(mel // patch_size[0], frames // patch_size[1])
    patches = rearrange(
        log_mel,
        "batch (freq mel) (time frame) -> batch (freq time) (mel frame)",
        mel=patch_size[0],
        frame=patch_size[1],
    )
    return patches, grid


def unpatchify(patches: Tensor, grid: Grid, patch_size: tuple[int, int]) -> Tensor:
    """Inverse of ``patchify``: (batch, num_patches, patch_dim) -> (batch, mel, frames)."""
    return rearrange(
        patches,
        "batch (freq time) (mel frame) -> batch (freq mel) (time frame)",
        freq=grid.freq_patches,
        mel=patch_size[0],
        frame=patch_size[1],
    )


def mean_per_patch(frames: Tensor, grid: Grid, patch_frames: int) -> Tensor:
    """Values per frame to values per patch: (batch, values, frames), (batch, num_patches, values).

    Patches of one column get the same; frames missing at the end repeat the last one.
    """
    missing = grid.time_patches * patch_frames - frames.shape[2]
    frames = functional.pad(frames, (0, missing), mode="replicate")
    return repeat(
        reduce(frames, "batch value (time frame) -> batch time value", "mean", frame=patch_frames),
        "batch time value -> batch (freq time) value",
        freq=grid.freq_patches,
    )


def patch_padding_mask(num_frames: Tensor, grid: Grid, patch_frames: int) -> Tensor:
    """Marks patches that lie wholly beyond a clip's end.

    Args:
        num_frames: (batch,) int64 valid frames.
        grid: of the padded batch.
        patch_frames: frames of a patch; a clip has ``max(1, ceil(frames / patch_frames))`` columns.

    Returns:
        (batch, num_patches) bool, True = padding.
    """
    columns = (num_frames + patch_frames - 1).div(patch_frames, rounding_mode="floor").clamp(1)
    time = torch.arange(grid.time_patches, device=num_frames.device)
    return (time >= columns[:, None]).repeat(1, grid.freq_patches)


def sinusoidal_positions(positions: Tensor, dim: int) -> Tensor:
    """Fixed sine and cosine features of positions, defined for any length.

    Args:
        positions: (n,) position along one axis.
        dim: even number of features.

    Returns:
        (n, dim) float32, sines then cosines.

    Source: Vaswani et al. 2017, section 3.5, with sines and cosines in two blocks.
    """
    exponent = torch.arange(dim // 2, device=positions.device, dtype=torch.float32) / (dim // 2)
    angles = positions.float()[:, None] * torch.exp(-math.log(10_000.0) * exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def grid_positions(grid: Grid, dim: int, device: torch.device) -> Tensor:
    """(num_patches, dim) float32: half the features for time, half for frequency.

    A grid with one row of patches has nothing to tell by frequency: all features are for time.
    """
    time = torch.arange(grid.time_patches, device=device).repeat(grid.freq_patches)
    if grid.freq_patches == 1:
        return sinusoidal_positions(time, dim)
    freq = torch.arange(grid.freq_patches, device=device).repeat_interleave(grid.time_patches)
    half = dim // 2
    return torch.cat([sinusoidal_positions(time, half), sinusoidal_positions(freq, half)], dim=1)
