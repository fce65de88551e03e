"""Changes of the waveform that keep its emotion, batched, on the device.

Each is a pure function of the clips' keys (see ``draws``) and of the view, so a stream of samples
is the same on any number of processes and after a restart.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ssl_audio.draws import Stream, uniform


def draw_place(num_samples: Tensor, keys: Tensor, length: int, view: int) -> Tensor:
    """(batch,) int64 first sample of a stretch of every clip; shorter clips keep their start.

    Args:
        num_samples: (batch,) int64 true lengths.
        keys: (batch,) int64.
        length: samples of the stretch.
        view: views with the same number have the same place.
    """
    room = (num_samples - length).clamp(0)
    start = (uniform(keys, Stream.VIEW, 1, view)[:, 0].double() * (room + 1)).long()
    return torch.minimum(start, room)


def shift_place(
    start: Tensor, num_samples: Tensor, keys: Tensor, length: int, most: int, view: int
) -> Tensor:
    """(batch,) int64 places moved by up to ``most`` samples, as far as the clips go."""
    moved = start + ((2 * uniform(keys, Stream.SHIFT, 1, view)[:, 0] - 1) * most).round().long()
    return torch.minimum(moved.clamp(0), (num_samples - length).clamp(0))


def cut_view(
    waveform: Tensor, num_samples: Tensor, start: Tensor, length: int
) -> tuple[Tensor, Tensor]:
    """A stretch of every clip.

    Args:
        waveform: (batch, samples), padded at its end.
        num_samples: (batch,) int64 true lengths.
        start: (batch,) int64 its first sample.
        length: samples of the stretch.

    Returns:
        (batch, length) of the waveform's type, and the (batch,) int64 true lengths.
    """
    waveform = functional.pad(waveform, (0, max(0, length - waveform.shape[1])))
    places = start[:, None] + torch.arange(length, device=waveform.device)
    cut = waveform.take_along_dim(places, dim=1)
    return cut.masked_fill(places >= num_samples[:, None], 0), num_samples.clamp(max=length)


def silence_padding(waveform: Tensor, num_samples: Tensor) -> Tensor:
    """(batch, samples) float32, zero after each clip's end."""
    return waveform * _sounding(waveform, num_samples)


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
    noise = (2 * draws[:, 1:] - 1) * _sounding(waveform, num_samples)
    return _add_at(waveform, noise, least_snr_db + _SNR_RANGE_DB * draws[:, :1])


def mix_clip(
    waveform: Tensor,
    num_samples: Tensor,
    background: Tensor,
    keys: Tensor,
    least_snr_db: float,
    view: int,
) -> Tensor:
    """Another recording, softer by a ratio drawn between ``least_snr_db`` and 30 dB more.

    Args:
        waveform: (batch, samples) float32, zero after each clip's end.
        num_samples: (batch,) int64 true lengths; what pads a clip stays silent.
        background: (batch, samples) float32; one that is silent changes nothing.
        keys: (batch,) int64.
        least_snr_db: level of the clip over the loudest background.
        view: each has a ratio of its own.
    """
    snr_db = least_snr_db + _SNR_RANGE_DB * uniform(keys, Stream.BACKGROUND_LEVEL, 1, view)
    return _add_at(waveform, background * _sounding(waveform, num_samples), snr_db)


def change_speed(
    waveform: Tensor, num_samples: Tensor, keys: Tensor, most: float, view: int
) -> tuple[Tensor, Tensor]:
    """Every clip played faster or slower by a factor of up to 1 + ``most``: pitch and tempo change.

    Both carry emotion, so this is for those who want it away. Samples between samples are read off
    a straight line, which at small factors dampens the highest octave only.

    Args:
        waveform: (batch, samples), padded at its end.
        num_samples: (batch,) int64 true lengths.
        keys: (batch,) int64.
        most: 0 changes nothing.
        view: each has a factor of its own.

    Returns:
        (batch, samples) float32, slow clips cut at its end, and the (batch,) int64 true lengths.
    """
    exponent = 2 * uniform(keys, Stream.SPEED, 1, view).double() - 1
    factor = (1 + most) ** exponent
    places = torch.arange(waveform.shape[1], device=waveform.device) * factor
    before = places.long().clamp(max=waveform.shape[1] - 1)
    after = (before + 1).clamp(max=waveform.shape[1] - 1)
    share = (places - before).float()
    played = waveform.take_along_dim(before, 1) * (1 - share)
    played = played + waveform.take_along_dim(after, 1) * share
    lengths = ((num_samples - 1) / factor[:, 0]).long() + 1
    lengths = lengths.clamp(max=waveform.shape[1])
    return played * _sounding(played, lengths), lengths


def _sounding(waveform: Tensor, num_samples: Tensor) -> Tensor:
    """(batch, samples) bool, False after each clip's end."""
    return torch.arange(waveform.shape[1], device=waveform.device) < num_samples[:, None]


def _add_at(waveform: Tensor, other: Tensor, snr_db: Tensor) -> Tensor:
    """Adds another sound at (batch, 1) decibels below the waveform, by the energy of both."""
    energy, added = (sound.square().sum(1, keepdim=True) for sound in (waveform, other))
    return waveform + (energy / added.clamp(1e-12) * 10 ** (-snr_db / 10)).sqrt() * other


_SNR_RANGE_DB = 30.0
