from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ssl_audio.draws import draw_keys
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.masking import Masked

Batches = Callable[[list[int], int], dict[str, Tensor]]
Encoders = Callable[..., AudioEncoder]


def list_predicted(masked: Masked, row: int) -> list[tuple[int, int]]:
    """Of each predicted patch of a row the column of its prediction, and the patch."""
    filled = masked.predict_padding_mask[row].tolist()
    patches = masked.ids_predict[row].tolist()
    return [(column, patch) for column, patch in enumerate(patches) if not filled[column]]


@pytest.fixture
def make_encoder() -> Encoders:
    """A small encoder, always with the same weights."""

    def make(patch_size: tuple[int, int] = (64, 4)) -> AudioEncoder:
        torch.manual_seed(0)
        shape = AudioEncoderConfig(
            hidden_size=24, num_attention_heads=2, num_hidden_layers=2, patch_size=patch_size
        )
        encoder = AudioEncoder(shape)
        encoder.set_normalisation(torch.full((64,), -6.0), torch.full((64,), 3.0))
        return encoder

    return make


@pytest.fixture
def make_batch() -> Batches:
    """Noise of some lengths, padded to a width with zeros."""

    def make(lengths: list[int], width: int) -> dict[str, Tensor]:
        waveform = torch.randint(
            -9000, 9000, (len(lengths), width), generator=torch.Generator().manual_seed(3)
        )
        sounding = torch.arange(width) < torch.tensor(lengths)[:, None]
        clips = torch.arange(len(lengths))
        return {
            "waveform": (waveform * sounding).short(),
            "num_samples": torch.tensor(lengths),
            "keys": draw_keys(0, torch.zeros_like(clips), clips),
            "clip_indices": clips,
        }

    return make
