"""Changes of the waveform that keep its emotion, batched, on the device.

Each is a pure function of the clips' keys (see ``draws``) and of the view, so a stream of samples
is the same on any number of processes and after a restart.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ssl_audio.draws import Stream, uniform


def cut_view(
    waveform: Tensor, num_samples: Tensor, keys: Tensor, length: int, view: int
) -> tuple[Tensor, Tensor]:
    """A stretch of every clip, at a place drawn for the view; shorter clips keep their start.

    Args:
        waveform: (batch, samples), padded at its end.
        num_samples: (batch,) int64 true lengths.
        keys: (batch,) int64.
        length: samples of the stretch.
        view: views with the same number are cut at the same place.

    Returns:
        (batch, length) of the waveform's type, and the (batch,) int64 true lengths.
    """
    room = (num_samples - length).clamp(0)
    start = (uniform(keys, Stream.VIEW, 1, view)[:, 0].double() * (room + 1)).long()
    start = torch.minimum(start, room)
    waveform = functional.pad(waveform, (0, max(0, length - waveform.shape[1])))
    places = start[:, None] + torch.arange(length, device=waveform.device)
    cut = waveform.take_along_dim(places, dim=1)
    return cut.masked_fill(places >= num_samples[:, None], 0), num_samples.clamp(max=length)


def change_level(waveform: Tensor, keys: Tensor, most_db: float, view: int) -> Tensor:
    """Every clip louder or softer by up to ``most_db``: (batch, samples) float32."""
    gain_db = (2 * uniform(keys, Stream.LEVEL, 1, view) - 1) * most_db
    return waveform * 10 ** (gain_db / 20)


def add_noise(
    waveform: Tensor, num_samples: Tensor, keys: Tensor, least_snr_db: float, view: int
) -> Tensor:
    """White noise at a signal-to-noise ratio drawn between ``least_snr_db`` and 30 dB more.

    Args:
        waveform: (batch, samples) float32, zero after each clip's end.
        num_samples: (batch,) int64 true lengths; what pads a clip stays silent.
        keys: (batch,) int64.
        least_snr_db: signal to noise of the noisiest clips.
        view: each has noise of its own.
    """
    draws = uniform(keys, Stream.NOISE, waveform.shape[1] + 1, view)
    snr_db = least_snr_db + _NOISE_RANGE_DB * draws[:, :1]
    power = waveform.square().sum(1, keepdim=True) / num_samples[:, None].clamp(1)
    # Uniform noise in [-1, 1] has a power of 1/3.
    scale = (3 * power * 10 ** (-snr_db / 10)).sqrt()
    sounding = torch.arange(waveform.shape[1], device=waveform.device) < num_samples[:, None]
    return waveform + scale * (2 * draws[:, 1:] - 1) * sounding


_NOISE_RANGE_DB = 30.0
