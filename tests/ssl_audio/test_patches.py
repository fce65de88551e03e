import pytest
import torch

from ssl_audio.patches import (
    Grid,
    grid_positions,
    patch_padding_mask,
    patchify,
    sinusoidal_positions,
    unpatchify,
)


@pytest.mark.parametrize("patch_size", [(64, 4), (16, 16)])
def test_unpatchify_inverts_patchify(patch_size: tuple[int, int]) -> None:
    log_mel = torch.randn(2, 64, 48)
    patches, grid = patchify(log_mel, patch_size)
    assert patches.shape == (2, grid.num_patches, patch_size[0] * patch_size[1])
    assert torch.equal(unpatchify(patches, grid, patch_size), log_mel)


def test_patches_are_frequency_major() -> None:
    log_mel = torch.arange(4 * 6).reshape(1, 4, 6).float()
    patches, grid = patchify(log_mel, (2, 3))
    assert grid == Grid(2, 2)
    assert patches[0, 1].tolist() == [3, 4, 5, 9, 10, 11]  # low band, second time
    assert patches[0, 2].tolist() == [12, 13, 14, 18, 19, 20]  # high band, first time


def test_axes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"multiples of \(64, 4\), got \(64, 6\)"):
        patchify(torch.zeros(1, 64, 6), (64, 4))


def test_padding_counts_columns_that_are_begun() -> None:
    mask = patch_padding_mask(torch.tensor([1, 4, 5, 16]), Grid(2, 4), 4)
    assert (~mask).sum(1).tolist() == [2, 2, 4, 8]
    assert mask[2].tolist() == [False, False, True, True] * 2


def test_positions_do_not_depend_on_the_length() -> None:
    short = grid_positions(Grid(1, 10), 64, torch.device("cpu"))
    long = grid_positions(Grid(1, 750), 64, torch.device("cpu"))
    assert torch.equal(short, long[:10])
    assert torch.equal(short, sinusoidal_positions(torch.arange(10), 64))
    square = grid_positions(Grid(4, 5), 64, torch.device("cpu"))
    assert len({tuple(row.tolist()) for row in square}) == 20
