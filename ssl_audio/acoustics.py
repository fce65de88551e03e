"""Classical measures of speech, batched torch functions on any device.

All are given per frame of the log-mel front end or per stretch of the waveform; what lies after a
clip's end changes nothing before it.
"""

import math
from functools import cache

import torch
from scipy.fft import dct, next_fast_len
from torch import Tensor
from torch.nn import functional

F0_MIN_HZ = 60.0
F0_MAX_HZ = 600.0
_WINDOW_SECONDS = 0.064
_OCTAVE_COST = 0.05
_DELTA_WIDTH = 2


def compute_mfcc(log_mel: Tensor, num_mfcc: int = 13) -> Tensor:
    """Mel-frequency cepstral coefficients: (batch, mel, frames) to (batch, num_mfcc, frames).

    Args:
        log_mel: natural log of mel power.
        num_mfcc: coefficients, the first of which is the level.

    Source: Davis and Mermelstein 1980; orthonormal DCT-II as librosa's and torchaudio's.
    """
    return _dct_matrix(log_mel.shape[1], num_mfcc).to(log_mel.device) @ log_mel


def hold_last_frame(frames: Tensor, num_frames: Tensor) -> Tensor:
    """(batch, values, frames) whose frames after a clip's end repeat its last one."""
    place = torch.arange(frames.shape[2], device=frames.device)
    place = torch.minimum(place, num_frames[:, None] - 1)
    return frames.take_along_dim(place[:, None, :], dim=2)


def compute_deltas(frames: Tensor) -> Tensor:
    """Slope over five frames of each value: (batch, values, frames) to the same shape.

    The edges are continued with their last values.

    Source: Furui 1986; the regression formula of the HTK book, equation 5.16, with a width of 2.
    """
    steps = torch.arange(-_DELTA_WIDTH, _DELTA_WIDTH + 1, device=frames.device, dtype=frames.dtype)
    padded = functional.pad(frames, (_DELTA_WIDTH, _DELTA_WIDTH), mode="replicate")
    return padded.unfold(2, 2 * _DELTA_WIDTH + 1, 1) @ (steps / steps.square().sum())


def compute_f0(waveform: Tensor, sample_rate: int, hop: int) -> tuple[Tensor, Tensor]:
    """Fundamental frequency and how periodic the sound is, of windows of 64 ms.

    Args:
        waveform: (batch, samples) float32, zero after each clip's end.
        sample_rate: Hz.
        hop: samples between windows; window ``t`` begins at sample ``t * hop``.

    Returns:
        f0 (batch, ceil(samples / hop)) float32 in Hz between 60 and 600, and periodicity of the
        same shape in [-1, 1], the normalised autocorrelation there; under some 0.5 there is no
        pitch and f0 means nothing.

    Source: Boersma 1993, "Accurate short-term analysis of the fundamental frequency", with its
    cost of octaves; autocorrelation normalised by the energy of both stretches as in Talkin 1995.
    """
    window = round(_WINDOW_SECONDS * sample_rate)
    shortest, longest = (round(sample_rate / f0) for f0 in (F0_MAX_HZ, F0_MIN_HZ))
    count = max(1, math.ceil(waveform.shape[1] / hop))
    padded = functional.pad(waveform, (0, (count - 1) * hop + window - waveform.shape[1]))
    frames = padded.unfold(1, window, hop).float()
    frames = frames - frames.mean(-1, keepdim=True)
    length = next_fast_len(window + longest, real=True)  # so that no lag wraps around
    spectrum = torch.fft.rfft(frames, n=length)
    power = spectrum.real.square() + spectrum.imag.square()
    products = torch.fft.irfft(power, n=length)[..., : longest + 1]
    energy = functional.pad(frames.square().cumsum(-1), (1, 0))
    lags = torch.arange(shortest, longest + 1, device=waveform.device)
    ahead, behind = energy[..., window - lags], energy[..., -1:] - energy[..., lags]
    periodicity = products[..., shortest:] / (ahead * behind).clamp(1e-12).sqrt()
    # Two periods fit as well as one: the shorter wins unless the longer fits better.
    cost = _OCTAVE_COST * torch.log2(lags / shortest)
    best = (periodicity - cost).argmax(-1, keepdim=True)
    return (
        sample_rate / lags[best.squeeze(-1)].float(),
        periodicity.take_along_dim(best, dim=-1).squeeze(-1),
    )


@cache
def _dct_matrix(num_mels: int, num_mfcc: int) -> Tensor:
    return torch.from_numpy(dct(torch.eye(num_mels).numpy(), norm="ortho", axis=0)[:num_mfcc])
