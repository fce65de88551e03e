import numpy as np
import torch

from ssl_audio.draws import Stream, _mix, _mix_on_device, draw_keys, uniform


def splitmix_finaliser(value: int) -> int:
    """Steele, Lea, Flood 2014, in Python's unbounded integers."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


def test_equals_the_reference_generator() -> None:
    key = 2**62 + 12345
    base = splitmix_finaliser(splitmix_finaliser(key + int(Stream.MASK)) + 1)
    expected = [
        (splitmix_finaliser((base + c * 0x9E3779B97F4A7C15) % 2**64) >> 40) / 2**24
        for c in range(1, 6)
    ]
    drawn = uniform(torch.tensor([key]), Stream.MASK, 5, view=1)[0]
    assert drawn.tolist() == expected


def test_torch_mixes_as_numpy_does() -> None:
    generator = torch.Generator().manual_seed(0)
    ends = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63)])
    values = torch.cat([ends, torch.randint(-(2**63), 2**63 - 1, (1000,), generator=generator)])
    mixed = _mix(values)
    assert torch.equal(mixed, _mix_on_device(values))
    assert mixed[:5].tolist() == [_signed(splitmix_finaliser(v % 2**64)) for v in ends.tolist()]
    assert torch.equal(_mix(values[::3]), mixed[::3])


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def test_a_draw_depends_on_its_own_key_only() -> None:
    passes, clips = torch.tensor([0, 0, 1]), torch.tensor([5, 6, 5])
    keys = draw_keys(3, passes, clips)
    together = uniform(keys, Stream.CROP, 4)
    alone = uniform(draw_keys(3, passes[1:2], clips[1:2]), Stream.CROP, 4)
    assert torch.equal(together[1:2], alone)
    assert len({tuple(row.tolist()) for row in together}) == 3


def test_streams_views_and_seeds_differ_and_are_uniform() -> None:
    clips = torch.arange(2000)
    keys = draw_keys(0, torch.zeros_like(clips), clips)
    a = uniform(keys, Stream.CROP, 8)
    for other in (
        uniform(keys, Stream.MASK, 8),
        uniform(keys, Stream.CROP, 8, view=1),
        uniform(draw_keys(1, torch.zeros_like(clips), clips), Stream.CROP, 8),
    ):
        assert abs(np.corrcoef(a.flatten(), other.flatten())[0, 1]) < 0.03
    counts = torch.histc(a, 16, 0, 1)
    expected = a.numel() / 16
    # Chi-square with 15 degrees of freedom: 37.7 is its 99.9th percentile.
    assert float(((counts - expected) ** 2 / expected).sum()) < 37.7
    assert float(a.min()) >= 0 and float(a.max()) < 1
