"""Changes of training clips that keep their labels, batched, on the device.

Each is a pure function of a clip's key (see ``ssl_audio.draws``) and of its audio: a clip is
changed alike in any batch, on any number of processes and after a restart. Level and noise are
those of pretraining, from ``ssl_audio.augment``.
"""

import math
from fractions import Fraction
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import phase_vocoder, resample

from ssl_audio.augment import add_noise, change_level, cut_view
from ssl_audio.config import Config
from ssl_audio.draws import Stream, uniform
from ssl_audio.errors import ConfigError

_N_FFT = 1024
_HOP_LENGTH = 256
_PARTS_OF_MOST = (-1.0, -0.5, 0.0, 0.5, 1.0)
# Resampling costs more the larger a ratio's numbers are; these miss a factor by less than 0.8 %, an
# eighth of a semitone, and still tell half of _LEAST_SEMITONES from none.
_LARGEST_DENOMINATOR = 64
_LEAST_SEMITONES = 0.5
_SEMITONES_OF_A_GENDER = 3.0
"""A third of the 9.7 between 120 Hz and 210 Hz, taken for usual men and women: they stay apart."""


class AugmentConfig(Config):
    """How training clips are changed; by default they are not.

    Attributes:
        level_db: most that a clip is made louder or softer.
        noise_snr_db: signal to noise of the noisiest clips, the cleanest have 30 dB more; None adds
            no noise.
        pitch_semitones: most that voices are made higher or lower, at the same tempo; 0 or at least
            0.5.
        stretch: most that speech is made faster, as a share (0.15 is up to 1.15 times faster or
            slower), at the same pitch.
        time_masks: stretches of time hidden in every spectrogram.
        time_mask_share: longest of them, as a share of the clip's own frames.
        freq_masks: ranges of mel bands hidden in every spectrogram.
        freq_mask_share: widest of them, as a share of the bands.
    """

    level_db: float = Field(default=0.0, ge=0, le=40)
    noise_snr_db: float | None = Field(default=None, ge=-20, le=60)
    pitch_semitones: float = Field(default=0.0, ge=0, le=12)
    stretch: float = Field(default=0.0, ge=0, le=1)
    time_masks: int = Field(default=0, ge=0)
    time_mask_share: float = Field(default=0.1, gt=0, le=1)
    freq_masks: int = Field(default=0, ge=0)
    freq_mask_share: float = Field(default=0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _check_pitch(self) -> Self:
        if 0 < self.pitch_semitones < _LEAST_SEMITONES:
            raise ValueError(
                f"pitch_semitones must be 0 (off) or at least {_LEAST_SEMITONES:g}, got "
                f"{self.pitch_semitones:g}"
            )
        return self

    @model_validator(mode="after")
    def _check_masks(self) -> Self:
        for axis in ("time", "freq"):
            count, share = getattr(self, f"{axis}_masks"), getattr(self, f"{axis}_mask_share")
            if count * share >= 1:
                raise ValueError(
                    f"{axis}_masks x {axis}_mask_share must be below 1 lest a clip be hidden "
                    f"whole, got {count} x {share:g}: take fewer or smaller masks"
                )
        return self


def refuse_other_genders(config: AugmentConfig, task: str) -> None:
    """Refuses a pitch that gives voices another gender where gender is told.

    Args:
        config: which changes.
        task: ``single``, ``multilabel`` or ``gender-emotion``.

    Raises:
        ConfigError: such a pitch.
    """
    if task == "gender-emotion" and config.pitch_semitones > _SEMITONES_OF_A_GENDER:
        raise ConfigError(
            f"augment.pitch_semitones of {config.pitch_semitones:g} gives voices another gender, "
            f"which {task} tells: at most {_SEMITONES_OF_A_GENDER:g}"
        )


def change_waveform(
    waveform: Tensor, num_samples: Tensor, keys: Tensor, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Pitch and tempo, then level, then noise.

    Args:
        waveform: (batch, samples) float32 at any sample rate, zero after each clip's end.
        num_samples: (batch,) int64 true lengths.
        keys: (batch,) int64, see ``ssl_audio.draws``.
        config: which changes.

    Returns:
        (batch, samples) float32, zero after each clip's end, and the (batch,) int64 true lengths;
        what a slow clip has too many is cut off.
    """
    with torch.autocast(waveform.device.type, enabled=False):
        waveform = waveform.float()
        if config.pitch_semitones or config.stretch:
            waveform, num_samples = _change_voice(waveform, num_samples, keys, config)
        if config.level_db:
            waveform = change_level(waveform, keys, config.level_db, view=0)
        if config.noise_snr_db is not None:
            waveform = add_noise(waveform, num_samples, keys, config.noise_snr_db, view=0)
    return waveform, num_samples


def mask_spectrogram(
    log_mel: Tensor, num_frames: Tensor, keys: Tensor, config: AugmentConfig
) -> Tensor:
    """SpecAugment's time and frequency masks inside each clip's own frames.

    torchaudio's ``mask_along_axis_iid`` draws from the global generator, so that a restarted run
    would go on otherwise, and over the padding.

    Args:
        log_mel: (batch, mel, frames) float32, normalised: masks are filled with 0, the mean.
        num_frames: (batch,) int64 true lengths; frames beyond are left as they are.
        keys: (batch,) int64, see ``ssl_audio.draws``.
        config: how many masks and how large.

    Returns:
        (batch, mel, frames) float32.

    Source: Park et al. 2019 (SpecAugment), section 2, without time warping. We differ: the longest
    time mask is a share of the clip, which may be short, not a number of frames.
    """
    _, n_mels, frames = log_mel.shape
    hidden_frames = draw_bands(
        keys, Stream.TIME_MASK, config.time_masks, config.time_mask_share, num_frames, frames
    )
    bands = torch.full_like(num_frames, n_mels)
    hidden_bands = draw_bands(
        keys, Stream.FREQ_MASK, config.freq_masks, config.freq_mask_share, bands, n_mels
    )
    own = torch.arange(frames, device=log_mel.device) < num_frames[:, None]
    hidden = hidden_frames[:, None, :] | (hidden_bands[:, :, None] & own[:, None, :])
    return log_mel.float().masked_fill(hidden, 0.0)


def draw_bands(
    keys: Tensor, stream: Stream, count: int, share: float, lengths: Tensor, size: int
) -> Tensor:
    """Places within ``count`` bands of every clip.

    Args:
        keys: (batch,) int64, see ``ssl_audio.draws``.
        stream: what the bands are for.
        count: bands of every clip; they may overlap.
        share: widest band, as a share of ``lengths``; widths from 0 on are equally likely.
        lengths: (batch,) int64 places of each clip, from the first on, that bands may lie in.
        size: places in all.

    Returns:
        (batch, size) bool, True within a band.
    """
    draws = uniform(keys, stream, 2 * count).double()
    room = lengths[:, None].double()
    widths = (draws[:, :count] * ((share * room).floor() + 1)).floor()
    starts = (draws[:, count:] * (room - widths + 1)).floor()
    places = torch.arange(size, device=keys.device)
    begun = places >= starts[:, :, None]
    return (begun & (places < (starts + widths)[:, :, None])).any(1)


def _change_voice(
    waveform: Tensor, num_samples: Tensor, keys: Tensor, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Each clip's pitch and tempo by factors of its own, drawn apart from each other.

    A factor is one of five, equally likely: none, or half or all of what the configuration allows,
    up or down. So clips with the same factors are changed together (torchaudio takes one per call),
    and some stay free of what the vocoder adds: one in five, or one in 25 if both are changed.
    """
    pitches = [
        Fraction(2 ** (config.pitch_semitones * part / 12)).limit_denominator(_LARGEST_DENOMINATOR)
        for part in _PARTS_OF_MOST
    ]
    tempos = [(1 + config.stretch) ** part for part in _PARTS_OF_MOST]
    drawn = [
        (uniform(keys, stream, 1).double() * len(_PARTS_OF_MOST)).long()
        for stream in (Stream.PITCH, Stream.STRETCH)
    ]
    # The one moment that waits for the device: its groups decide what is computed.
    groups: dict[tuple[Fraction, float], list[int]] = {}
    for row, (pitch, tempo) in enumerate(torch.cat(drawn, dim=1).tolist()):
        groups.setdefault((pitches[pitch], tempos[tempo]), []).append(row)
    changed = waveform.clone()
    for (pitch, tempo), rows in groups.items():
        if (pitch, tempo) != (1, 1):
            changed[rows] = _vocode(waveform[rows], pitch, tempo)
    factors = torch.tensor(tempos, dtype=torch.float64, device=keys.device)[drawn[1][:, 0]]
    lengths = (num_samples / factors).round().long().clamp(1)
    return cut_view(changed, lengths, torch.zeros_like(lengths), waveform.shape[1])


def _vocode(waveform: Tensor, pitch: Fraction, tempo: float) -> Tensor:
    """Clips of which the frequencies and the speed are multiplied by one factor each.

    Stretched by a phase vocoder, then resampled. torchaudio's ``pitch_shift`` does the same, but it
    reflects the ends, through which the padding comes in, and resamples between rates without a
    common factor, whose kernel takes gigabytes.

    Args:
        waveform: (batch, samples) float32, zero after each clip's end.
        pitch: on the frequencies; a ratio of small numbers, with which resampling is cheap.
        tempo: on the speed.

    Returns:
        (batch, samples) float32, cut or completed with zeros, not silent after the clips' ends.

    Source: Flanagan & Golden 1966, as in torchaudio's ``phase_vocoder``.
    """
    rate = tempo / float(pitch)
    # Every window that reaches into what a clip becomes is there, however wide the batch is.
    margin = math.ceil((1 + rate) * _N_FFT)
    window = torch.hann_window(_N_FFT, device=waveform.device)
    spectrum = torch.stft(
        functional.pad(waveform, (0, margin)),
        _N_FFT,
        _HOP_LENGTH,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
    bins = torch.linspace(0, math.pi * _HOP_LENGTH, spectrum.shape[1], device=waveform.device)
    stretched = phase_vocoder(spectrum, rate, phase_advance=bins[:, None])
    played = torch.istft(stretched, _N_FFT, _HOP_LENGTH, window=window)
    # GPUs convolve float32 with ten bits of mantissa, which would be heard as noise.
    played = resample(played.double(), pitch.numerator, pitch.denominator).float()
    return functional.pad(played, (0, waveform.shape[1] - played.shape[1]))
