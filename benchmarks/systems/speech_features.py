"""What a frozen speech encoder of transformers makes of a clip: each layer's mean over time.

A clip is embedded by itself, so nothing is padding and no clip's answer depends on another.
"""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)
from transformers.utils import logging as transformers_logging

from benchmarks.systems.neural import UNREADABLE
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.errors import UserError

NUM_SAMPLES = 1600
"""A shorter clip is completed with zeros: the first layers need 400 samples for one frame."""
UNUSED = {"masked_spec_embed"}
"""Weights that only pretraining uses."""


def pretrained_layer_means(
    waveform: npt.NDArray[np.int16], folder: str, weights: str, precision: str, device: str
) -> npt.NDArray[np.float32]:
    """Of an encoder on this disk.

    Args:
        waveform: (samples,) int16 at 16 kHz.
        folder: that ``save_pretrained`` wrote, or a snapshot of the Hugging Face cache.
        weights: their sha256.
        precision: ``float32``, or ``bfloat16`` by autocast.
        device: of torch.

    Returns:
        (layers + 1, dim) float32: the input of the first layer, then each layer's output.
    """
    return _layer_means(waveform, *load_encoder(folder, weights, device), precision)


def random_layer_means(
    waveform: npt.NDArray[np.int16],
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    conv_dim: int,
    precision: str,
    device: str,
) -> npt.NDArray[np.float32]:
    """Of a wav2vec2 encoder that never learnt anything, the same for every seed.

    Args:
        waveform: (samples,) int16 at 16 kHz.
        hidden_size: width of a layer.
        num_layers: of the transformer.
        num_heads: of attention.
        conv_dim: width of the convolutions.
        precision: ``float32``, or ``bfloat16`` by autocast.
        device: of torch.

    Returns:
        As ``pretrained_layer_means``.
    """
    parts = build_random(hidden_size, num_layers, num_heads, conv_dim, device)
    return _layer_means(waveform, *parts, precision)


@lru_cache(maxsize=1)
def load_encoder(folder: str, weights: str, device: str) -> tuple[Any, Any]:
    """Model and feature extractor, with every weight in its place.

    Args:
        folder: as of ``pretrained_layer_means``.
        weights: their sha256, so that new weights in the same folder are loaded.
        device: of torch.

    Raises:
        UserError: the folder can't be loaded, lacks weights, or wants another sample rate.
    """
    transformers_logging.disable_progress_bar()
    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        model, info = AutoModel.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except UNREADABLE as error:
        raise UserError(f"{folder} can't be loaded as a speech encoder: {error}") from None
    missing = sorted(name for name in info["missing_keys"] if name.split(".")[-1] not in UNUSED)
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} weights, first {missing[0]}")
    if extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(
            f"{folder} wants {extractor.sampling_rate} Hz, the clips have {SAMPLE_RATE}"
        )
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    return model.eval().to(device), extractor


@lru_cache(maxsize=1)
def build_random(
    hidden_size: int, num_layers: int, num_heads: int, conv_dim: int, device: str
) -> tuple[Any, Any]:
    """Model and feature extractor of ``random_layer_means``."""
    config = Wav2Vec2Config(
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=4 * hidden_size,
        conv_dim=(conv_dim,) * 7,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Wav2Vec2Model(config)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    return model.eval().to(device), extractor


@torch.no_grad()
def _layer_means(
    waveform: npt.NDArray[np.int16], model: Any, extractor: Any, precision: str
) -> npt.NDArray[np.float32]:
    samples = np.zeros(max(NUM_SAMPLES, len(waveform)), np.float32)
    samples[: len(waveform)] = waveform.astype(np.float32) / 32768
    # The checkpoint's own extractor normalises where it should.
    inputs = extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").to(model.device)
    inputs.pop("attention_mask", None)  # a clip by itself has nothing to hide
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        output = model(**inputs, output_hidden_states=True)
    layers = torch.stack(output.hidden_states).float()[:, 0]
    whole = getattr(extractor, "n_samples", None)  # Whisper's pads every clip to 30 s
    if whole:
        layers = layers[:, : max(1, math.ceil(layers.shape[1] * min(1, len(samples) / whole)))]
    means: npt.NDArray[np.float32] = layers.mean(1).cpu().numpy()
    return means


def weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint's weights: safetensors, else torch's; empty if it has none."""
    safe = sorted(folder.glob("model*.safetensors"))
    return safe or sorted(folder.glob("pytorch_model*.bin"))
