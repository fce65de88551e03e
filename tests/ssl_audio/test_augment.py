from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_audio.augment import (
    add_noise,
    change_level,
    change_speed,
    cut_view,
    draw_place,
    mix_clip,
    shift_place,
)
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import BackgroundStream, CropStream
from ssl_audio.draws import draw_keys

NUM_CLIPS = 64
KEYS = draw_keys(0, torch.zeros(NUM_CLIPS, dtype=torch.int64), torch.arange(NUM_CLIPS))
LENGTHS = torch.full((NUM_CLIPS,), 12_000)


def draw_sounds(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sounds = 0.1 * torch.randn(NUM_CLIPS, 16_000, generator=generator)
    return sounds * (torch.arange(16_000) < 12_000)


def ratio_db(signal: Tensor, other: Tensor) -> Tensor:
    return 10 * (signal.square().sum(1) / other.square().sum(1)).log10()


def test_background_is_as_soft_as_was_drawn_and_ends_with_the_clip() -> None:
    clean, background = draw_sounds(), torch.randn(NUM_CLIPS, 16_000) * 7
    mixed = mix_clip(clean, LENGTHS, background, KEYS, 5.0, view=0)
    assert (mixed[:, 12_000:] == 0).all()
    levels = ratio_db(clean, mixed - clean)
    assert 4.9 < float(levels.min()) < 9 and 31 < float(levels.max()) < 35.1
    added = (mixed - clean)[0, :12_000]
    assert float(torch.corrcoef(torch.stack([added, background[0, :12_000]]))[0, 1]) > 0.999
    silent = mix_clip(clean, LENGTHS, torch.zeros_like(clean), KEYS, 5.0, view=0)
    assert torch.equal(silent, clean)
    assert not torch.equal(mixed, mix_clip(clean, LENGTHS, background, KEYS, 5.0, view=1))


def test_speed_moves_pitch_and_length_by_one_factor() -> None:
    time = torch.arange(32_000) / 16_000
    tones = torch.sin(2 * torch.pi * 500 * time).expand(NUM_CLIPS, -1)
    lengths = torch.full((NUM_CLIPS,), 24_000)
    played, new_lengths = change_speed(tones, lengths, KEYS, 0.25, view=0)
    factors = []
    for row in range(NUM_CLIPS):
        length = int(new_lengths[row])
        assert (played[row, length:] == 0).all()
        crossings = int((played[row, : length - 1] * played[row, 1:length] < 0).sum())
        pitch = crossings / 2 / (length / 16_000)
        factor = 24_000 / length
        assert abs(pitch / 500 - factor) < 0.02
        factors.append(factor)
    assert 0.79 < min(factors) < 0.86 and 1.18 < max(factors) < 1.26
    same, same_lengths = change_speed(tones, lengths, KEYS, 0.0, view=0)
    sounding = torch.arange(32_000) < 24_000
    assert torch.equal(same, tones * sounding) and torch.equal(same_lengths, lengths)


@pytest.mark.parametrize("view", [0, 1])
def test_a_clip_is_changed_alike_in_any_batch(view: int) -> None:
    sounds, others = draw_sounds(), draw_sounds(1)

    def change(rows: slice) -> Tensor:
        place = draw_place(LENGTHS[rows], KEYS[rows], 8_000, 0)
        place = shift_place(place, LENGTHS[rows], KEYS[rows], 8_000, 400, view)
        cut, lengths = cut_view(sounds[rows], LENGTHS[rows], place, 8_000)
        cut, lengths = change_speed(cut, lengths, KEYS[rows], 0.1, view)
        cut = change_level(cut, KEYS[rows], 6.0, view)
        cut = add_noise(cut, lengths, KEYS[rows], 10.0, view)
        return mix_clip(cut, lengths, others[rows, :8_000], KEYS[rows], 10.0, view)

    together = change(slice(None))
    torch.testing.assert_close(change(slice(5, 7)), together[5:7], atol=1e-6, rtol=0)


def test_the_stream_brings_another_clip_for_each_one(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    indices = np.arange(len(corpus))
    plain = CropStream(corpus, indices, 0, 0.5).__getitems__(range(100))
    stream = BackgroundStream(corpus, indices, 0, 0.5)
    batch = stream.__getitems__(range(100))
    assert all(torch.equal(batch[name], plain[name]) for name in plain)
    assert batch["background"].shape == batch["waveform"].shape
    same = (batch["background"] == batch["waveform"]).all(1)
    assert int(same.sum()) <= 5
    # Draws are the same whatever batch they come in.
    later = stream.__getitems__([40, 41])
    assert torch.equal(later["background"], batch["background"][40:42])
