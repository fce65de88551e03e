"""What a user would pretrain with instead: transformers' ViTMAE and wav2vec 2.0, built alike.

They have the width, depth and heads of our encoder and begin with random weights. ViTMAE is given
as many patches of 256 log-mel values as our clips have, as a square picture that is ready in
memory, so that the front end costs it nothing.
"""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining, Wav2Vec2Config, Wav2Vec2ForPreTraining
from transformers.models.wav2vec2.modeling_wav2vec2 import (
    _compute_mask_indices,
    _sample_negative_indices,
)

from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.objectives.decoders import TransformerDecoderConfig

PATCH_SIDE = 16
"""256 values, as many as 40 ms have at 64 mel bands."""
WAV2VEC2_FRAMES_PER_SECOND = 50
"""All of them go through its transformer: what is masked is replaced, not left out."""

_DRAWN_AHEAD = 4

Loss = Callable[[], Tensor]


def build_vit_mae(
    shape: AudioEncoderConfig,
    decoder: TransformerDecoderConfig | None,
    mask_ratio: float | None,
    batch_size: int,
    patches_a_side: int,
    device: torch.device,
) -> tuple[nn.Module, Loss]:
    """A masked autoencoder of pictures, and its loss on a batch.

    Args:
        shape: width, depth and heads of the encoder.
        decoder: its size; None is as shipped (8 blocks of 512).
        mask_ratio: share of hidden patches; None is as shipped (three quarters).
        batch_size: pictures.
        patches_a_side: of a picture.
        device: of weights and pictures.
    """
    side = patches_a_side * PATCH_SIDE
    sizes: dict[str, Any] = {}
    if decoder is not None:
        sizes = {
            "decoder_hidden_size": decoder.dim,
            "decoder_num_hidden_layers": decoder.layers,
            "decoder_num_attention_heads": decoder.heads,
            "decoder_intermediate_size": 4 * decoder.dim,
        }
    if mask_ratio is not None:
        sizes["mask_ratio"] = mask_ratio
    config = ViTMAEConfig(
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        intermediate_size=shape.mlp_ratio * shape.hidden_size,
        image_size=side,
        patch_size=PATCH_SIDE,
        num_channels=1,
        norm_pix_loss=True,
        **sizes,
    )
    model = ViTMAEForPreTraining(config).train().to(device)
    pictures = torch.randn(batch_size, 1, side, side, device=device)
    return model, lambda: model(pictures).loss


def build_wav2vec2(
    shape: AudioEncoderConfig, batch_size: int, seconds: float, device: torch.device
) -> tuple[nn.Module, Loss]:
    """wav2vec 2.0 with its contrastive loss, masks and negatives drawn as its authors do."""
    config = Wav2Vec2Config(
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        intermediate_size=shape.mlp_ratio * shape.hidden_size,
        layerdrop=0.0,
    )
    model = Wav2Vec2ForPreTraining(config).train().to(device)
    waveform = torch.randn(batch_size, round(seconds * 16_000), device=device)
    length = int(model._get_feat_extract_output_lengths(waveform.shape[1]))

    def draw() -> tuple[Tensor, Tensor]:
        masked = _compute_mask_indices((batch_size, length), 0.65, 10, min_masks=2)
        negatives = _sample_negative_indices((batch_size, length), config.num_negatives, masked)
        drawn = (torch.from_numpy(masked), torch.from_numpy(np.asarray(negatives)))
        return drawn[0].to(device), drawn[1].to(device)

    ahead = cycle([draw() for _ in range(_DRAWN_AHEAD)])  # as a loader's workers would

    def loss() -> Tensor:
        masked, negatives = next(ahead)
        output = model(waveform, mask_time_indices=masked, sampled_negative_indices=negatives)
        return output.loss / masked.sum()

    return model, loss
