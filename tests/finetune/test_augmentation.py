"""Changes of training clips: what they change, by how much, and that nothing else matters."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finetune.augmentation import (
    AugmentConfig,
    change_waveform,
    draw_bands,
    mask_spectrogram,
    refuse_other_genders,
)
from ssl_audio.config import build_config
from ssl_audio.draws import Stream, draw_keys
from ssl_audio.errors import ConfigError
from ssl_audio.features import LogMel

SAMPLE_RATE = 16_000
EVERYTHING = AugmentConfig(level_db=6, noise_snr_db=10, pitch_semitones=3, stretch=0.2)
LENGTHS = torch.tensor([16_000, 1_280, 15_999, 12_345, 700, 16_000, 8_000, 1, 9_999, 14_000])


def make_keys(count: int, seed: int = 0) -> Tensor:
    return draw_keys(seed, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def make_tones(frequencies: Tensor, samples: int) -> Tensor:
    """(batch, samples) of sines at (batch,) Hz."""
    return 0.5 * torch.sin(2 * torch.pi * frequencies[:, None] * torch.arange(samples) / 16_000)


def make_voices(lengths: Tensor, samples: int) -> Tensor:
    """Harmonic sounds with pauses of digital silence and a bed of noise, zero after their ends."""
    time = torch.arange(samples) / SAMPLE_RATE
    pitch = torch.linspace(90, 300, len(lengths))[:, None]
    voiced = sum(torch.sin(2 * torch.pi * k * pitch * time) / k for k in range(1, 9))
    noise = torch.randn(len(lengths), samples, generator=torch.Generator().manual_seed(0))
    sounds = (0.1 * voiced + 1e-4 * noise) * (torch.sin(2 * torch.pi * 3 * time) > -0.5)
    return sounds * (torch.arange(samples) < lengths[:, None])


def find_pitch(tone: Tensor) -> float:
    """Frequency of a (samples,) sine in Hz, from its middle half."""
    middle = tone[len(tone) // 4 : len(tone) * 3 // 4].double()
    spectrum = torch.fft.rfft(middle * torch.hann_window(len(middle)), n=2**16)
    return float(spectrum.abs().argmax()) * SAMPLE_RATE / 2**16


def test_voices_keep_their_gender_where_it_is_told() -> None:
    for pitch, task in ((3, "gender-emotion"), (12, "single"), (12, "multilabel")):
        refuse_other_genders(AugmentConfig(pitch_semitones=pitch), task)
    with pytest.raises(ConfigError, match="another gender, which gender-emotion tells: at most 3"):
        refuse_other_genders(AugmentConfig(pitch_semitones=3.5), "gender-emotion")


def test_nothing_changes_by_default() -> None:
    voices = make_voices(LENGTHS, 16_000)
    changed, lengths = change_waveform(voices, LENGTHS, make_keys(10), AugmentConfig())
    assert torch.equal(changed, voices) and torch.equal(lengths, LENGTHS)
    log_mel = torch.randn(10, 64, 100)
    frames = LogMel().num_frames(LENGTHS)
    assert torch.equal(mask_spectrogram(log_mel, frames, make_keys(10), AugmentConfig()), log_mel)


def test_pitch_moves_by_one_of_five_factors_and_time_stays() -> None:
    """The tone begins at 6000 samples and ends at 12 000, before and after."""
    time = torch.arange(14_000)
    tones = make_tones(torch.full((60,), 440.0), 14_000) * ((time >= 6_000) & (time < 12_000))
    lengths = torch.full((60,), 12_000)
    config = AugmentConfig(pitch_semitones=4)
    changed, new_lengths = change_waveform(tones, lengths, make_keys(60), config)
    assert torch.equal(new_lengths, lengths)
    assert float(changed[:, :5_000].abs().max()) < 0.01
    assert float(changed[:, 6_500:7_500].square().mean(1).min()) > 0.06
    assert float(changed[:, 10_500:11_500].square().mean(1).min()) > 0.06
    steps = set()
    for row in range(60):
        moved = 12 * math.log2(find_pitch(changed[row, 6_000:12_000]) / 440)
        steps.add(round(moved))
        assert abs(2 ** ((moved - round(moved)) / 12) - 1) < 0.01
    assert steps == {-4, -2, 0, 2, 4}


@pytest.mark.parametrize("frequency", [150.0, 1_000.0, 4_000.0])
def test_stretch_changes_the_length_and_keeps_the_pitch(frequency: float) -> None:
    tones = make_tones(torch.full((40,), frequency), 16_000)
    lengths = torch.full((40,), 10_000)
    tones = tones * (torch.arange(16_000) < 10_000)
    changed, new_lengths = change_waveform(
        tones, lengths, make_keys(40), AugmentConfig(stretch=0.2)
    )
    tempos = [1 / 1.2, 1.2**-0.5, 1.0, 1.2**0.5, 1.2]
    assert set(new_lengths.tolist()) == {round(10_000 / tempo) for tempo in tempos}
    for row, length in enumerate(new_lengths.tolist()):
        assert abs(find_pitch(changed[row, :length]) / frequency - 1) < 0.01
        # It sounds to its end, as loud as before but for a decibel.
        for start, end in pairwise([0.1, 0.3, 0.5, 0.7, 0.9]):
            part = changed[row, round(start * length) : round(end * length)]
            assert abs(10 * math.log10(float(part.square().mean()) / (0.5**2 / 2))) < 1


def test_pitch_and_tempo_are_drawn_apart() -> None:
    tones = make_tones(torch.full((200,), 440.0), 6_000)
    tones = tones * (torch.arange(6_000) < 4_000)
    config = AugmentConfig(pitch_semitones=6, stretch=0.5)
    changed, lengths = change_waveform(tones, torch.full((200,), 4_000), make_keys(200), config)
    found = {
        (round(12 * math.log2(find_pitch(changed[row, :length]) / 440)), length)
        for row, length in enumerate(lengths.tolist())
    }
    assert len(found) == 25


def test_a_slow_clip_is_cut_at_the_width() -> None:
    tones = make_tones(torch.full((30,), 440.0), 8_000)
    config = AugmentConfig(stretch=1.0)
    changed, lengths = change_waveform(tones, torch.full((30,), 8_000), make_keys(30), config)
    assert changed.shape == tones.shape
    assert set(lengths.tolist()) == {4_000, round(8_000 / math.sqrt(2)), 8_000}


def test_level_and_noise_are_as_loud_as_configured() -> None:
    tones = make_tones(torch.full((200,), 300.0), 4_000)
    lengths = torch.full((200,), 4_000)
    louder, _ = change_waveform(tones, lengths, make_keys(200), AugmentConfig(level_db=6))
    gain_db = 20 * (louder[:, 10] / tones[:, 10]).log10()
    assert -6 <= float(gain_db.min()) < -5 and 5 < float(gain_db.max()) <= 6
    noisy, _ = change_waveform(tones, lengths, make_keys(200), AugmentConfig(noise_snr_db=5))
    ratio_db = 10 * (tones.square().sum(1) / (noisy - tones).square().sum(1)).log10()
    assert 5 <= float(ratio_db.min()) < 8 and 32 < float(ratio_db.max()) <= 35.01


def test_padding_stays_zero_and_very_short_clips_work() -> None:
    changed, lengths = change_waveform(
        make_voices(LENGTHS, 16_000), LENGTHS, make_keys(10), EVERYTHING
    )
    assert changed.shape == (10, 16_000) and changed.dtype == torch.float32
    assert changed.isfinite().all()
    assert bool((lengths >= 1).all()) and bool((lengths <= 16_000).all())
    assert (changed * (torch.arange(16_000) >= lengths[:, None]) == 0).all()
    assert float(changed[1].square().sum()) > 0


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(pitch_semitones=3),
        AugmentConfig(stretch=0.2),
        AugmentConfig(noise_snr_db=10),
        EVERYTHING,
    ],
)
def test_a_clip_is_changed_alike_in_any_batch(config: AugmentConfig) -> None:
    voices, keys = make_voices(LENGTHS, 16_000), make_keys(10)
    together, lengths = change_waveform(voices, LENGTHS, keys, config)
    for row, length in enumerate(LENGTHS.tolist()):
        for width in (length, 16_000):
            one = slice(row, row + 1)
            alone, new = change_waveform(voices[one, :width], LENGTHS[one], keys[one], config)
            assert int(new[0]) == min(int(lengths[row]), width)
            # Noise is as loud as the whole clip, which a narrower batch cuts if it is slow.
            if int(lengths[row]) <= width or config.noise_snr_db is None:
                end = int(new[0])
                torch.testing.assert_close(alone[0, :end], together[row, :end], atol=1e-5, rtol=0)


def test_keys_decide() -> None:
    voices = make_voices(LENGTHS, 16_000)
    first, lengths = change_waveform(voices, LENGTHS, make_keys(10), EVERYTHING)
    again, same_lengths = change_waveform(voices, LENGTHS, make_keys(10), EVERYTHING)
    assert torch.equal(first, again) and torch.equal(lengths, same_lengths)
    other, _ = change_waveform(voices, LENGTHS, make_keys(10, seed=1), EVERYTHING)
    assert not any(torch.equal(a, b) for a, b in zip(first[:6], other[:6], strict=True))


def test_autocast_changes_nothing() -> None:
    voices, keys = make_voices(LENGTHS, 16_000), make_keys(10)
    masks = AugmentConfig(time_masks=2, freq_masks=2)
    plain, _ = change_waveform(voices, LENGTHS, keys, EVERYTHING)
    log_mel, frames = torch.randn(10, 64, 100), LogMel().num_frames(LENGTHS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(change_waveform(voices, LENGTHS, keys, EVERYTHING)[0], plain)
        masked = mask_spectrogram(log_mel, frames, keys, masks)
    assert torch.equal(masked, mask_spectrogram(log_mel, frames, keys, masks))


@given(
    count=st.integers(0, 4),
    share=st.floats(0.01, 1.0),
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_bands_lie_within_their_lengths(
    count: int, share: float, lengths: list[int], seed: int
) -> None:
    keys, widest = make_keys(len(lengths), seed), torch.tensor(lengths)
    bands = draw_bands(keys, Stream.TIME_MASK, count, share, widest, 50)
    single = draw_bands(keys, Stream.TIME_MASK, 1, share, widest, 50)
    for row, length in enumerate(lengths):
        assert not bands[row, length:].any()
        assert int(bands[row].sum()) <= count * math.floor(share * length)
        edges = int((single[row, 1:] != single[row, :-1]).sum())
        assert int(single[row].sum()) <= math.floor(share * length) and edges <= 2


def test_bands_take_every_width_and_place_equally_often() -> None:
    bands = draw_bands(make_keys(20_000), Stream.TIME_MASK, 1, 0.5, torch.full((20_000,), 8), 10)
    widths = bands.sum(1).bincount() / 20_000
    torch.testing.assert_close(widths, torch.full((5,), 0.2), atol=0.01, rtol=0)
    starts = bands[bands.sum(1) == 4].to(torch.uint8).argmax(1).bincount().float()
    torch.testing.assert_close(starts / starts.sum(), torch.full((5,), 0.2), atol=0.03, rtol=0)


def test_masks_are_whole_frames_and_bands_of_the_clip_itself() -> None:
    frames = LogMel().num_frames(LENGTHS)
    log_mel = 1 + torch.rand(10, 64, 100)
    config = AugmentConfig(time_masks=2, time_mask_share=0.3, freq_masks=1, freq_mask_share=0.25)
    seen_frames = seen_bands = 0
    for seed in range(20):
        keys = make_keys(10, seed)
        masked = mask_spectrogram(log_mel, frames, keys, config)
        assert torch.equal(masked[masked != 0], log_mel[masked != 0])
        for row, length in enumerate(frames.tolist()):
            assert torch.equal(masked[row, :, length:], log_mel[row, :, length:])
            hidden = masked[row, :, :length] == 0
            hidden_frames, hidden_bands = hidden.all(0), hidden.all(1)
            assert torch.equal(hidden, hidden_frames[None, :] | hidden_bands[:, None])
            assert int(hidden_frames.sum()) <= 2 * math.floor(0.3 * length)
            assert int(hidden_bands.sum()) <= 16
            seen_frames += int(hidden_frames.sum())
            seen_bands += int(hidden_bands.sum())
            alone = mask_spectrogram(
                log_mel[row : row + 1, :, :length],
                frames[row : row + 1],
                keys[row : row + 1],
                config,
            )
            assert torch.equal(alone[0], masked[row, :, :length])
    assert seen_frames and seen_bands


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level_db": -1}, "level_db: Input should be greater than or equal to 0, got -1"),
        ({"noise_snr_db": math.nan}, "noise_snr_db"),
        ({"pitch_semitones": 13}, "pitch_semitones: Input should be less than or equal to 12"),
        ({"pitch_semitones": 0.1}, "must be 0 (off) or at least 0.5, got 0.1"),
        ({"stretch": 1.5}, "stretch"),
        (
            {"time_masks": 4, "time_mask_share": 0.25},
            "below 1 lest a clip be hidden whole, got 4 x",
        ),
        ({"freq_masks": 1, "freq_mask_share": 1}, "freq_masks x freq_mask_share"),
        ({"noise": 3}, "unknown key noise (known: level_db, noise_snr_db"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(AugmentConfig, values)
    assert message in str(caught.value)
