import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_audio.masking import random_mask


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
