import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_audio.draws import draw_keys
from ssl_audio.masking import (
    MaskingConfig,
    block_noise,
    count_blocks,
    draw_masks,
    predict_some,
    random_mask,
)
from ssl_audio.patches import Grid


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=5),
    ratio=st.floats(0, 0.99),
    seed=st.integers(0, 9),
)
def test_counts_and_order(lengths: list[int], ratio: float, seed: int) -> None:
    num_patches = max(lengths)
    padding = torch.arange(num_patches) >= torch.tensor(lengths)[:, None]
    noise = torch.rand(len(lengths), num_patches, generator=torch.Generator().manual_seed(seed))
    masked = random_mask(noise, ratio, padding)
    for row, length in enumerate(lengths):
        keep = max(1, round(length * (1 - ratio)))
        visible = masked.ids_keep[row][~masked.keep_padding_mask[row]].tolist()
        assert len(visible) == keep
        assert visible == sorted(set(visible)) and max(visible) < length
        hidden = masked.mask[row].nonzero().flatten().tolist()
        assert sorted(hidden + visible) == list(range(length))
        # The visible ones are those with the smallest noise.
        assert set(visible) == set(noise[row, :length].argsort()[:keep].tolist())


def test_a_clips_mask_does_not_depend_on_its_batch() -> None:
    noise = torch.rand(3, 40, generator=torch.Generator().manual_seed(0))
    padding = torch.arange(40) >= torch.tensor([40, 30, 7])[:, None]
    together = random_mask(noise, 0.75, padding)
    alone = random_mask(noise[2:, :7], 0.75, padding[2:, :7])
    assert torch.equal(together.mask[2, :7], alone.mask[0])


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=5),
    ratio=st.floats(0, 0.99),
    prediction_ratio=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
def test_predicted_ones_are_a_share_of_the_hidden_ones(
    lengths: list[int], ratio: float, prediction_ratio: float, seed: int
) -> None:
    num_patches = max(lengths)
    padding = torch.arange(num_patches) >= torch.tensor(lengths)[:, None]
    generator = torch.Generator().manual_seed(seed)
    noise, other = torch.rand(2, len(lengths), num_patches, generator=generator)
    masked = random_mask(noise, ratio, padding)
    some = predict_some(masked, other, prediction_ratio)
    assert torch.equal(some.mask, masked.mask) and torch.equal(some.ids_keep, masked.ids_keep)
    for row in range(len(lengths)):
        hidden = masked.mask[row].nonzero().flatten().tolist()
        assert masked.ids_predict[row][~masked.predict_padding_mask[row]].tolist() == hidden
        predicted = some.ids_predict[row][~some.predict_padding_mask[row]].tolist()
        count = max(1, round(len(hidden) * prediction_ratio)) if hidden else 0
        smallest = sorted(hidden, key=lambda patch, row=row: float(other[row, patch]))[:count]
        assert predicted == sorted(smallest)
    everything = predict_some(masked, other, 1.0)
    assert torch.equal(everything.ids_predict, masked.ids_predict)


def test_other_patches_are_predicted_under_every_mask_in_every_batch_the_same() -> None:
    keys = draw_keys(0, torch.zeros(4000, dtype=torch.int64), torch.arange(4000))
    padding = torch.arange(40) >= torch.tensor([40, 40, 40, 30]).repeat(1000)[:, None]
    config = MaskingConfig(mask_ratio=0.5, num_masks=2, prediction_ratio=0.25)
    masked = draw_masks(keys, config, Grid(1, 40), padding)
    alone = draw_masks(keys[3:4], config, Grid(1, 30), padding[3:4, :30])
    for row, same in ((0, 3), (1, 4003)):
        predicted = masked.ids_predict[same][~masked.predict_padding_mask[same]]
        assert torch.equal(alone.ids_predict[row], predicted) and len(predicted) == 4
    assert not torch.equal(masked.ids_predict[:4000], masked.ids_predict[4000:])
    often = torch.zeros(8000, 40).scatter(1, masked.ids_predict, 1.0)[
        padding.logical_not().all(1).repeat(2)
    ]
    assert (often.mean(0) - 0.125).abs().max() < 0.03


def run_lengths(row: torch.Tensor) -> list[int]:
    """Of the runs of True."""
    return [len(run) for run in "".join("x" if v else " " for v in row.tolist()).split()]


@pytest.mark.parametrize("kind", ["random", "block", "inverse_block"])
def test_every_kind_hides_exactly_its_share(kind: str) -> None:
    keys = draw_keys(0, torch.zeros(40, dtype=torch.int64), torch.arange(40))
    grid = Grid(1, 75)
    padding = torch.arange(75) >= torch.linspace(20, 75, 40).long()[:, None]
    config = MaskingConfig(mask=kind, mask_ratio=0.6, num_masks=2)  # type: ignore[arg-type]
    masked = draw_masks(keys, config, grid, padding)
    valid = (~padding).sum(1).repeat(2)
    assert torch.equal((~masked.keep_padding_mask).sum(1), (valid * 0.4).round().long())
    assert torch.equal(masked.mask.sum(1), valid - (valid * 0.4).round().long())
    assert not (masked.mask & padding.repeat(2, 1)).any()
    assert not torch.equal(masked.mask[:40], masked.mask[40:])
    alone = draw_masks(keys[3:4], config, Grid(1, 30), padding[3:4, :30])
    assert torch.equal(alone.mask[:, :30], masked.mask[[3, 43], :30])
    hidden = [n for row in masked.mask[40:] for n in run_lengths(row)]
    visible = [n for row in (~masked.mask & ~padding.repeat(2, 1)) for n in run_lengths(row)]
    mean_hidden, mean_visible = (sum(runs) / len(runs) for runs in (hidden, visible))
    if kind == "random":
        assert mean_hidden < 3.5 and mean_visible < 2.5
    elif kind == "block":
        assert mean_hidden > 5
    else:
        assert mean_visible > 4


def test_blocks_of_a_grid_are_squares() -> None:
    grid = Grid(12, 20)
    noise = torch.ones(1, 16, 24)
    noise[0, 4 + 3, 4 + 7] = 0.25
    assert count_blocks(grid, 5) == noise[0].numel()
    blocks = block_noise(noise.flatten(1), grid, 5).reshape(12, 20)
    assert (blocks[3:8, 7:12] == 0.25).all() and int((blocks == 0.25).sum()) == 25
    # At both edges a block is cut.
    for start, covered in ((-3, [0, 1]), (6, [6, 7])):
        edge = torch.ones(1, 12)
        edge[0, 4 + start] = 0.5
        found = block_noise(edge, Grid(1, 8), 5)[0]
        assert (found == 0.5).nonzero().flatten().tolist() == covered


def test_a_block_higher_than_the_grid_covers_columns_whole() -> None:
    noise = torch.rand(3, count_blocks(Grid(4, 9), 5), generator=torch.Generator().manual_seed(0))
    found = block_noise(noise, Grid(4, 9), 5).unflatten(1, (4, 9))
    assert torch.equal(found, block_noise(noise, Grid(1, 9), 5)[:, None].expand(3, 4, 9))


@pytest.mark.parametrize("kind", ["random", "block", "inverse_block"])
@pytest.mark.parametrize("grid", [Grid(1, 75), Grid(8, 20)])
def test_every_place_is_hidden_equally_often(kind: str, grid: Grid) -> None:
    keys = draw_keys(0, torch.zeros(4000, dtype=torch.int64), torch.arange(4000))
    padding = torch.zeros(4000, grid.num_patches, dtype=torch.bool)
    config = MaskingConfig(mask=kind, mask_ratio=0.75)  # type: ignore[arg-type]
    often = draw_masks(keys, config, grid, padding).mask.float().mean(0)
    assert (often - 0.75).abs().max() < 0.05
