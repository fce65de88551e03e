import librosa
import numpy as np
import pytest
import torch

from ssl_audio.acoustics import compute_deltas, compute_f0, compute_mfcc, hold_last_frame


def test_mfcc_equal_librosa() -> None:
    log_mel = torch.randn(2, 64, 30, generator=torch.Generator().manual_seed(0))
    expected = librosa.feature.mfcc(S=log_mel[1].numpy(), n_mfcc=13)
    np.testing.assert_allclose(compute_mfcc(log_mel)[1].numpy(), expected, atol=1e-4)


def test_slopes_equal_librosa_and_of_a_line_are_its_slope() -> None:
    frames = torch.randn(1, 3, 20, generator=torch.Generator().manual_seed(0))
    expected = librosa.feature.delta(frames[0].numpy(), width=5, mode="nearest")
    # At the edges librosa pads what was filtered with savgol's own rule.
    np.testing.assert_allclose(compute_deltas(frames)[0].numpy(), expected, atol=1e-5)
    line = (3.0 * torch.arange(20.0) + 1)[None, None]
    assert torch.allclose(compute_deltas(line)[..., 2:-2], torch.tensor(3.0), atol=1e-5)


def test_frames_after_the_end_repeat_the_last_one() -> None:
    frames = torch.arange(12.0).reshape(2, 1, 6)
    held = hold_last_frame(frames, torch.tensor([6, 2]))
    assert held[0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert held[1, 0].tolist() == [6, 7, 7, 7, 7, 7]


@pytest.mark.parametrize("f0", [75.0, 120.0, 233.0, 410.0, 560.0])
def test_f0_of_harmonic_sounds(f0: float) -> None:
    time = torch.arange(16_000) / 16_000
    generator = torch.Generator().manual_seed(0)
    phases = 2 * torch.pi * torch.rand(12, generator=generator)
    sound = sum(
        torch.sin(2 * torch.pi * f0 * (k + 1) * time + phases[k]) / (k + 1) for k in range(12)
    )
    noisy = sound + 0.05 * torch.randn(16_000, generator=generator)
    found, periodicity = compute_f0(noisy[None], 16_000, 640)
    assert found.shape == periodicity.shape == (1, 25)
    # Lags are whole samples: at 560 Hz one is 3.5 %.
    assert float((found[0, :23].log2() - np.log2(f0)).abs().max()) < 0.03
    assert float(periodicity[0, :23].min()) > 0.9


def test_noise_and_silence_have_no_pitch() -> None:
    noise = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    assert float(compute_f0(noise, 16_000, 640)[1].median()) < 0.35
    found, periodicity = compute_f0(torch.zeros(1, 100), 16_000, 640)
    assert periodicity.tolist() == [[0.0]] and torch.isfinite(found).all()


def test_f0_does_not_depend_on_what_pads_the_clip() -> None:
    sound = torch.randn(1, 6_000, generator=torch.Generator().manual_seed(0)).cumsum(1)
    sound = sound - sound.mean()
    narrow = compute_f0(sound, 16_000, 640)
    wide = compute_f0(torch.nn.functional.pad(sound, (0, 9_000)), 16_000, 640)
    for a, b in zip(narrow, wide, strict=True):
        torch.testing.assert_close(b[:, : a.shape[1]], a, atol=1e-4, rtol=0)
