"""Building an encoder for a pool of clips, and saving it."""

from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator
from torch import Tensor

from ssl_audio.config import Config
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import choose_evenly, whole_clips
from ssl_audio.encoder import AudioEncoder, AudioEncoderFeatureExtractor
from ssl_audio.encoder_config import AudioEncoderConfig, Size
from ssl_audio.features import LogMel, compute_normalisation
from ssl_audio.objectives.base import to_float


class EncoderSettings(Config):
    """Which encoder to build.

    Attributes:
        size: tiny, small or base.
        patch_size: (mel, frames) of a patch.
    """

    size: Size = "tiny"
    patch_size: tuple[int, int] = (64, 4)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build_config()
        return self

    def build_config(self) -> AudioEncoderConfig:
        """The encoder's own configuration."""
        return AudioEncoderConfig.of_size(self.size, patch_size=self.patch_size)


def build_encoder(
    config: AudioEncoderConfig,
    attention: str,
    corpus: PreparedCorpus,
    indices: npt.NDArray[np.int64],
) -> AudioEncoder:
    """A new encoder whose normalisation constants come from these clips only.

    Args:
        config: its shape.
        attention: ``eager`` or ``sdpa``.
        corpus: prepared.
        indices: (num_clips,) training clips; of many hours an evenly chosen hour is measured.
    """
    encoder = AudioEncoder(config.with_attention(attention))
    encoder.set_normalisation(*measure_normalisation(encoder.log_mel, corpus, indices))
    return encoder


def measure_normalisation(
    log_mel: LogMel, corpus: PreparedCorpus, indices: npt.NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per mel band of some clips.

    Args:
        log_mel: the front end.
        corpus: prepared.
        indices: (num_clips,) at least one; of many hours an evenly chosen hour is measured.

    Returns:
        Two (n_mels,) float32 tensors.
    """
    chosen = choose_evenly(corpus, indices)
    batches = ((to_float(audio), lengths) for _, audio, lengths in whole_clips(corpus, chosen, 32))
    return compute_normalisation(log_mel, batches)


def count_tokens(config: AudioEncoderConfig, seconds: float) -> int:
    """Tokens of a clip of this length."""
    columns = -(-round(seconds * config.sample_rate) // (config.patch_size[1] * config.hop_length))
    return columns * (config.n_mels // config.patch_size[0])


def save_encoder(encoder: AudioEncoder, output: Path) -> None:
    """Writes what ``from_pretrained`` reads: weights, configuration, feature extractor."""
    encoder.save_pretrained(output)
    AudioEncoderFeatureExtractor(encoder.config.sample_rate).save_pretrained(output)
