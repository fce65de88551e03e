"""Masked-spectrogram reconstruction.

Source: the idea of Huang et al. 2022, "Masked Autoencoders that Listen" (AudioMAE), sections 3.1
to 3.3: the encoder sees the visible patches only, a light decoder predicts the hidden ones, targets
are normalised patch by patch. We differ: full-band patches of 40 ms by default, a decoder with
global attention, clips of any length with padding that counts nowhere, and a loss averaged clip by
clip.
"""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ssl_audio.config import Config
from ssl_audio.draws import Stream, uniform
from ssl_audio.encoder import AudioEncoder, PatchedAudio
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.masking import Masked, random_mask
from ssl_audio.objectives.base import Batch, Objective, Reconstruction, StepOutput, to_float
from ssl_audio.patches import grid_positions, unpatchify
from ssl_audio.transformer import Block, attention_bias


class MaskedConfig(Config):
    """Settings of the masked objective.

    Attributes:
        kind: names the objective.
        mask_ratio: share of valid patches hidden from the encoder.
        decoder_dim: width of the decoder.
        decoder_layers: its blocks.
        decoder_heads: attention heads of each.
    """

    kind: Literal["masked"] = "masked"
    mask_ratio: float = Field(default=0.75, ge=0, lt=1)
    decoder_dim: int = Field(default=192, gt=0)
    decoder_layers: int = Field(default=2, gt=0)
    decoder_heads: int = Field(default=3, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        AudioEncoderConfig(hidden_size=self.decoder_dim, num_attention_heads=self.decoder_heads)
        return self


def normalise_patches(patches: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Each patch to mean 0 and variance 1: (..., patch_dim) -> the same shape."""
    mean = patches.mean(-1, keepdim=True)
    variance = patches.var(-1, keepdim=True, correction=0)
    return (patches - mean) * (variance + epsilon).rsqrt()


def masked_mse(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean over clips of each clip's mean squared error over its hidden patches.

    Args:
        prediction: (batch, num_patches, patch_dim).
        target: the same shape.
        mask: (batch, num_patches) bool, True = hidden; a clip without hidden patches counts 0.

    Returns:
        Scalar float32.
    """
    error = (prediction.float() - target).square().mean(-1)
    per_clip = (error * mask).sum(1) / mask.sum(1).clamp(1)
    return per_clip.mean()


class Decoder(nn.Module):
    """A few transformer blocks from visible tokens to all patches."""

    def __init__(self, encoder_config: AudioEncoderConfig, config: MaskedConfig) -> None:
        super().__init__()
        block_config = AudioEncoderConfig(
            hidden_size=config.decoder_dim,
            num_attention_heads=config.decoder_heads,
        ).with_attention(encoder_config._attn_implementation or "sdpa")
        patch_dim = encoder_config.patch_size[0] * encoder_config.patch_size[1]
        self.dim = config.decoder_dim
        self.embedding = nn.Linear(encoder_config.hidden_size, self.dim)
        self.mask_token = nn.Parameter(torch.zeros(self.dim))
        self.blocks = nn.ModuleList(Block(block_config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(self.dim, eps=encoder_config.layer_norm_eps)
        self.prediction = nn.Linear(self.dim, patch_dim)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, masked: Masked, audio: PatchedAudio) -> Tensor:
        """(batch, num_kept, encoder dim) -> prediction (batch, num_patches, patch_dim)."""
        visible = self.embedding(tokens)
        batch, num_patches = masked.mask.shape
        full = self.mask_token.to(visible.dtype).expand(batch, num_patches, self.dim)
        # Rows with fewer visible patches are filled up with hidden ones: those keep the mask token.
        visible = torch.where(
            masked.keep_padding_mask[:, :, None], self.mask_token.to(visible.dtype), visible
        )
        index = masked.ids_keep[:, :, None].expand(-1, -1, self.dim)
        tokens = full.scatter(1, index, visible)
        tokens = tokens + grid_positions(audio.grid, self.dim, tokens.device)
        bias = attention_bias(audio.padding_mask, tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, bias)
        return self.prediction(self.norm(tokens))


class MaskedObjective(Objective):
    """Encode the visible patches, decode all, compare the hidden ones."""

    def __init__(self, encoder: AudioEncoder, config: MaskedConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.decoder = Decoder(encoder.config, config)

    def forward(self, batch: Batch) -> StepOutput:
        """Reconstruction loss of one batch."""
        audio, masked = self.mask(batch)
        tokens = self.encoder.encode(audio, masked).last_hidden_state
        prediction = self.decoder(tokens, masked, audio)
        loss = masked_mse(prediction, normalise_patches(audio.patches), masked.mask)
        return StepOutput(loss, {"token_std": tokens.detach().float().std(dim=(0, 1)).mean()})

    def mask(self, batch: Batch) -> tuple[PatchedAudio, Masked]:
        """Front end and mask, the latter a pure function of each clip's key."""
        audio = self.encoder.patch_audio(to_float(batch["waveform"]), batch["num_samples"])
        noise = uniform(batch["keys"], Stream.MASK, audio.grid.num_patches)
        return audio, random_mask(noise, self.config.mask_ratio, audio.padding_mask)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Reconstruction:
        """What the model sees and what it makes of the rest, as pictures.

        The prediction is normalised patch by patch; each is put back to the original's mean and
        deviation, which the model does not predict.
        """
        audio, masked = self.mask(batch)
        tokens = self.encoder.encode(audio, masked).last_hidden_state
        prediction = self.decoder(tokens, masked, audio).float()
        mean = audio.patches.mean(-1, keepdim=True)
        deviation = audio.patches.std(-1, keepdim=True, correction=0)
        hidden = masked.mask[:, :, None]
        size = self.encoder.config.patch_shape
        pictures = (
            audio.patches,
            audio.patches.masked_fill(hidden, torch.nan),
            torch.where(hidden, prediction * deviation + mean, audio.patches),
        )
        original, visible, completed = (unpatchify(p, audio.grid, size) for p in pictures)
        num_frames = self.encoder.log_mel.num_frames(batch["num_samples"])
        return Reconstruction(original, visible, completed, num_frames)
