"""Mixing pairs of clips: their partners, their shares and what is pasted where."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional

from finetune.labels import gender_groups
from finetune.mixing import (
    MIXINGS,
    Mixing,
    MixingConfig,
    Mixup,
    MixupConfig,
    SpecMix,
    SpecMixConfig,
    draw_larger_shares,
    draw_partners,
)
from ssl_audio.config import Config, build_config, dump_config, load_config
from ssl_audio.draws import draw_keys
from ssl_audio.errors import ConfigError

FLOOR = -3.0
BOTH = [
    Mixup(MixupConfig(alpha=1.0)),
    SpecMix(SpecMixConfig(probability=1.0, time_share=0.5, freq_share=0.4)),
]


class Recipe(Config):
    """Stands for the configuration that mixing is a part of."""

    mixing: MixingConfig | None = None


def make_keys(count: int, seed: int = 0) -> Tensor:
    return draw_keys(seed, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def make_clips(lengths: list[int], n_mels: int, frames: int) -> Tensor:
    """Every cell of every clip has a value of its own, padding is the floor."""
    cells = torch.rand(len(lengths), n_mels, frames, generator=torch.Generator().manual_seed(0))
    own = torch.arange(frames) < torch.tensor(lengths)[:, None, None]
    return torch.where(own, cells, FLOOR)


def make_targets(count: int, num_classes: int = 4) -> Tensor:
    return functional.one_hot(torch.arange(count) % num_classes, num_classes).float()


lengths_of_batches = st.lists(st.integers(1, 24), min_size=1, max_size=8)
groups_of_batches = st.lists(st.integers(-1, 3), min_size=1, max_size=20)


@given(groups=groups_of_batches, seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_partners_are_others_of_the_group_and_each_is_taken_once(
    groups: list[int], seed: int
) -> None:
    partners = draw_partners(make_keys(len(groups), seed), torch.tensor(groups)).tolist()
    assert sorted(partners) == list(range(len(groups)))
    for row, partner in enumerate(partners):
        assert groups[partner] == groups[row]
        assert (partner == row) == (groups.count(groups[row]) == 1)


def test_partners_are_drawn_anew_by_the_keys_and_not_by_the_order_of_the_batch() -> None:
    keys = make_keys(32)
    partners = draw_partners(keys)
    assert torch.equal(partners, draw_partners(keys))
    assert int((partners == draw_partners(make_keys(32, seed=1))).sum()) < 6
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(order[draw_partners(keys[order])], partners[order])


@pytest.mark.parametrize("mixing", BOTH)
@given(groups=groups_of_batches, seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_nothing_crosses_a_group(mixing: Mixing, groups: list[int], seed: int) -> None:
    """Every group has a value and a class of its own: another's would show."""
    count = len(groups)
    members = torch.tensor(groups)
    log_mel = members[:, None, None].expand(-1, 8, 10).float()
    targets = functional.one_hot(members + 1, 5).float()
    mixed, new_targets = mixing.mix(
        log_mel, torch.full((count,), 10), targets, make_keys(count, seed), members
    )
    torch.testing.assert_close(mixed, log_mel)
    torch.testing.assert_close(new_targets, targets)


@pytest.mark.parametrize("mixing", BOTH)
def test_a_clip_alone_in_its_group_stays_itself(mixing: Mixing) -> None:
    log_mel = torch.randn(5, 8, 10)
    targets = torch.rand(5, 4)
    frames, groups = torch.full((5,), 10), torch.tensor([0, 0, 7, 0, 9])
    mixed, new_targets = mixing.mix(log_mel, frames, targets, make_keys(5), groups)
    alone = [2, 4]
    assert torch.equal(mixed[alone], log_mel[alone])
    assert torch.equal(new_targets[alone], targets[alone])
    assert not torch.equal(mixed, log_mel) and not torch.equal(new_targets, targets)
    one, one_targets = mixing.mix(log_mel[:1], frames[:1], targets[:1], make_keys(1))
    assert torch.equal(one, log_mel[:1]) and torch.equal(one_targets, targets[:1])


@pytest.mark.parametrize("mixing", BOTH)
@given(lengths=lengths_of_batches, seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_rows_sum_to_one_and_padding_stays(mixing: Mixing, lengths: list[int], seed: int) -> None:
    clips, targets = make_clips(lengths, 6, 24), make_targets(len(lengths))
    keys = make_keys(len(lengths), seed)
    mixed, new_targets = mixing.mix(clips, torch.tensor(lengths), targets, keys)
    assert mixed.isfinite().all()
    torch.testing.assert_close(new_targets.sum(1), torch.ones(len(lengths)))
    assert float(new_targets.min()) >= 0 and float(new_targets.max()) <= 1
    for row, length in enumerate(lengths):
        assert torch.equal(mixed[row, :, length:], clips[row, :, length:])


@given(
    lengths=lengths_of_batches,
    n_mels=st.integers(1, 12),
    bands=st.tuples(st.integers(0, 3), st.integers(1, 3)),
    shares=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100, deadline=None)
def test_specmix_weighs_targets_by_the_kept_cells(
    lengths: list[int],
    n_mels: int,
    bands: tuple[int, int],
    shares: tuple[float, float],
    seed: int,
) -> None:
    """Against the mask that the pasted cells themselves show: no two clips share a value."""
    config = SpecMixConfig(
        probability=1,
        time_bands=bands[0],
        freq_bands=bands[1],
        time_share=shares[0],
        freq_share=shares[1],
    )
    count = len(lengths)
    clips, keys = make_clips(lengths, n_mels, 24), make_keys(count, seed)
    targets = torch.eye(count)
    mixed, new_targets = SpecMix(config).mix(clips, torch.tensor(lengths), targets, keys)
    for row, partner in enumerate(draw_partners(keys).tolist()):
        both = min(lengths[row], lengths[partner])
        kept = mixed[row] == clips[row]
        assert torch.equal(mixed[row][~kept], clips[partner][~kept])
        assert kept[:, both:].all()
        # Whole bands: within the frames that both have, lost frames and lost mels explain all.
        lost = ~kept[:, :both]
        times, mels = lost.all(0), lost.all(1)
        assert torch.equal(lost, times[None, :] | mels[:, None])
        share = float(kept[:, : lengths[row]].double().mean())
        expected = share * targets[row] + (1 - share) * targets[partner]
        torch.testing.assert_close(new_targets[row], expected, atol=1e-6, rtol=0)


def test_specmix_pastes_no_wider_than_configured() -> None:
    clips, frames = make_clips([20] * 64, 10, 20), torch.full((64,), 20)
    config = SpecMixConfig(
        probability=1, time_bands=1, freq_bands=1, time_share=0.25, freq_share=0.3
    )
    widest_time = widest_mel = 0
    for seed in range(10):
        keys = make_keys(64, seed)
        mixed, _ = SpecMix(config).mix(clips, frames, make_targets(64), keys)
        lost = mixed != clips
        widest_time = max(widest_time, int(lost.all(1).sum(1).max()))
        widest_mel = max(widest_mel, int(lost.all(2).sum(1).max()))
    assert (widest_time, widest_mel) == (5, 3)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 4.0, 100.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    shares = draw_larger_shares(make_keys(20_000), alpha)
    assert shares.isfinite().all()
    assert float(shares.min()) >= 0.5 and float(shares.max()) <= 1

    def cumulative(share: Any) -> Any:
        return stats.beta.cdf(share, alpha, alpha) - stats.beta.cdf(1 - share, alpha, alpha)

    # Ones that float32 rounds up to 1 are a step in the sampled distribution.
    below = shares[shares < 0.999].double().numpy()
    top = cumulative(0.999)
    assert abs(len(below) / len(shares) - top) < 0.015
    assert stats.kstest(below, lambda share: cumulative(share) / top).statistic < 0.02


def test_mixup_is_the_weighted_mean_within_the_clip() -> None:
    lengths = [12, 5, 9, 12, 3, 7]
    clips, targets, keys = make_clips(lengths, 4, 12), torch.eye(6), make_keys(6)
    mixed, new_targets = Mixup(MixupConfig(alpha=1.0)).mix(
        clips, torch.tensor(lengths), targets, keys
    )
    partners, shares = draw_partners(keys).tolist(), draw_larger_shares(keys, 1.0).tolist()
    assert len(set(shares)) == 6
    for row, (partner, share) in enumerate(zip(partners, shares, strict=True)):
        assert float(new_targets[row, row]) == pytest.approx(share)
        assert float(new_targets[row, partner]) == pytest.approx(1 - share)
        for frame in range(12):
            expected = clips[row, :, frame]
            if frame < lengths[row]:
                expected = share * expected + (1 - share) * clips[partner, :, frame]
            torch.testing.assert_close(mixed[row, :, frame], expected)


@pytest.mark.parametrize(
    "mixing",
    [
        Mixup(MixupConfig(alpha=1.0, probability=0.3)),
        SpecMix(SpecMixConfig(probability=0.3, time_bands=3, time_share=0.9)),
    ],
)
def test_as_many_clips_are_mixed_as_configured(mixing: Mixing) -> None:
    clips = make_clips([10] * 2_000, 4, 10)
    mixed, _ = mixing.mix(clips, torch.full((2_000,), 10), make_targets(2_000), make_keys(2_000))
    assert 0.25 < float((mixed != clips).any(2).any(1).float().mean()) < 0.35


@pytest.mark.parametrize("mixing", BOTH)
def test_autocast_and_low_precision_change_nothing(mixing: Mixing) -> None:
    clips, frames = make_clips([10, 4, 7, 10], 8, 10).bfloat16(), torch.tensor([10, 4, 7, 10])
    targets, keys = make_targets(4), make_keys(4)
    plain = mixing.mix(clips.float(), frames, targets, keys)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mixing.mix(clips, frames, targets, keys)
    for expected, got in zip(plain, mixed, strict=True):
        assert got.dtype == torch.float32 and torch.equal(got, expected)


@pytest.mark.parametrize("kind", MIXINGS)
def test_a_recipe_names_its_mixing(kind: str) -> None:
    recipe = load_config(Recipe, None, [f"mixing.kind={kind}", "mixing.probability=0.25"])
    assert recipe.mixing is not None and recipe.mixing.kind == kind
    assert MIXINGS[kind](recipe.mixing).probability == 0.25
    assert f"kind: {kind}" in dump_config(recipe)
    assert load_config(Recipe).mixing is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "cutmix"}, "mixing: expected one of mixup, specmix, got 'cutmix'"),
        (
            {"alpha": 0.3},
            "mixing: expected one of mixup, specmix, or a section that names its kind",
        ),
        ({"kind": "mixup", "alpha": 0}, "mixing.alpha: Input should be greater than 0, got 0"),
        ({"kind": "mixup", "time_bands": 1}, "unknown key mixing.time_bands (known: kind, alpha"),
        ({"kind": "specmix", "probability": 0}, "mixing.probability"),
        ({"kind": "specmix", "time_share": 1.5}, "mixing.time_share"),
        ({"kind": "specmix", "time_bands": 0, "freq_bands": 0}, "must not both be 0"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(Recipe, {"mixing": values})
    assert message in str(caught.value)


def test_groups_are_the_genders_of_the_targets() -> None:
    """Of pseudo-labelled clips nobody knows another gender; classes may name men first."""
    classes = ("male_a", "male_b", "female_a", "female_b")
    targets = np.eye(4, dtype=np.float32)[[3, 0, 1, 2]]
    assert gender_groups(targets, classes).tolist() == [0, 1, 1, 0]
