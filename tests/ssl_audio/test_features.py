from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from ssl_audio.features import LogMel, compute_normalisation


def reference_log_mel(waveform: np.ndarray, log_mel: LogMel) -> np.ndarray:
    """librosa's, on the clip completed with zeros as the front end does."""
    import librosa

    frames = -(-len(waveform) // 160)
    padded = np.pad(waveform, (0, (frames - 1) * 160 + 512 - len(waveform)))
    mel = librosa.feature.melspectrogram(
        y=padded,
        sr=16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        window="hann",
        center=False,
        power=2.0,
        n_mels=64,
        fmin=50.0,
        fmax=8000.0,
        htk=True,
        norm=None,
    )
    return np.log(mel + log_mel.floor)


@pytest.mark.real_data
def test_equals_librosa_on_real_clips(real_data: Path) -> None:
    log_mel = LogMel()
    files = sorted((real_data / "ravdess").glob("Actor_*/*-01-01-01-0*.flac"))[::29][:6]
    assert len(files) >= 4
    for file in files:
        waveform, _ = sf.read(file, dtype="float32")
        ours = log_mel(torch.from_numpy(waveform)[None])[0].numpy()
        assert np.abs(ours - reference_log_mel(waveform, log_mel)).max() < 1e-4


def test_equals_librosa_on_noise() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 20_001).astype(np.float32)
    log_mel = LogMel()
    ours = log_mel(torch.from_numpy(waveform)[None])[0].numpy()
    assert np.abs(ours - reference_log_mel(waveform, log_mel)).max() < 1e-4


@pytest.mark.parametrize("length", [1, 159, 160, 161, 8_000, 20_001])
def test_padding_changes_no_valid_frame(length: int) -> None:
    log_mel = LogMel()
    noise = torch.randn(2, 32_000, generator=torch.Generator().manual_seed(0)) * 0.1
    num_samples = torch.tensor([length, 32_000])
    # What lies beyond a clip's end is garbage on purpose: it must not be seen.
    padded = log_mel(noise, num_samples)
    alone = log_mel(noise[:1, :length])
    frames = int(log_mel.num_frames(num_samples)[0])
    assert alone.shape[2] == frames == max(1, -(-length // 160))
    assert torch.equal(padded[0, :, :frames], alone[0])
    floor = torch.tensor(log_mel.floor).log()
    assert torch.allclose(padded[0, :, frames:], floor, atol=1e-6)


def test_float32_under_autocast() -> None:
    log_mel = LogMel()
    waveform = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(1)) * 0.1
    with torch.autocast("cpu", torch.bfloat16):
        under = log_mel(waveform)
    assert under.dtype == torch.float32
    assert torch.equal(under, log_mel(waveform))


@pytest.mark.parametrize(
    "waveform", [torch.zeros(16_000), torch.zeros(1, 1, 9), torch.zeros(1, 9, dtype=torch.int16)]
)
def test_wrong_waveforms_are_named(waveform: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"waveform must be \(batch, samples\) float at 16000 Hz"):
        LogMel()(waveform)


def test_normalisation_ignores_padding() -> None:
    log_mel = LogMel()
    clips = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (5_000, 9_000)]
    frames = torch.cat([log_mel(clip[None])[0] for clip in clips], dim=1).double()
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    lengths = torch.tensor([5_000, 9_000])
    mean, std = compute_normalisation(log_mel, [(batch, lengths)])
    torch.testing.assert_close(mean.double(), frames.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(std.double(), frames.std(1, correction=0), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="no frames"):
        compute_normalisation(log_mel, [])
