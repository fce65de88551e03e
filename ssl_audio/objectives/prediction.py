"""Masked prediction: what all objectives share that tell hidden places from visible ones.

The encoder sees the visible patches only, a light decoder answers at every place, and the answers
at hidden places are compared with targets made of the whole clip. An objective says what the
targets are and how to compare.

Source: He et al. 2022 (MAE), section 3, for encoder and decoder; Baevski et al. 2022 (data2vec
2.0), section 3.3, for several masks of a clip that share one set of targets.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ssl_audio.encoder import AudioEncoder, AudioEncoderOutput, PatchedAudio
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.masking import Masked, MaskingConfig, draw_masks
from ssl_audio.objectives.base import Batch, Heard, Level, Objective, StepOutput, hear
from ssl_audio.patches import grid_positions
from ssl_audio.transformer import Block, attention_bias

TargetsType = TypeVar("TargetsType")


class PredictionConfig(MaskingConfig):
    """Masks and decoder.

    Attributes:
        decoder_dim: width of the decoder.
        decoder_layers: its blocks.
        decoder_heads: attention heads of each.
    """

    decoder_dim: int = Field(default=192, gt=0)
    decoder_layers: int = Field(default=2, gt=0)
    decoder_heads: int = Field(default=3, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        AudioEncoderConfig(hidden_size=self.decoder_dim, num_attention_heads=self.decoder_heads)
        return self


@dataclass(frozen=True)
class Answers:
    """What the model says of num_masks * batch masked clips, masks one after the other.

    Attributes:
        prediction: (rows, num_patches, target_dim) of the decoder.
        encoded: visible tokens and cls.
        masked: which patches were hidden.
    """

    prediction: Tensor
    encoded: AudioEncoderOutput
    masked: Masked


def mean_over_hidden(error: Tensor, mask: Tensor) -> Tensor:
    """Mean over clips of each clip's mean over its hidden patches: scalar float32.

    Args:
        error: (batch, num_patches) of every patch.
        mask: (batch, num_patches) bool, True = hidden; a clip without hidden patches counts 0.
    """
    per_clip = (error * mask).sum(1) / mask.sum(1).clamp(1)
    return per_clip.mean()


class Decoder(nn.Module):
    """A few transformer blocks from visible tokens to all patches."""

    def __init__(
        self, encoder_config: AudioEncoderConfig, config: PredictionConfig, target_dim: int
    ) -> None:
        super().__init__()
        block_config = AudioEncoderConfig(
            hidden_size=config.decoder_dim,
            num_attention_heads=config.decoder_heads,
        ).with_attention(encoder_config._attn_implementation or "sdpa")
        self.dim = config.decoder_dim
        self.embedding = nn.Linear(encoder_config.hidden_size, self.dim)
        self.mask_token = nn.Parameter(torch.zeros(self.dim))
        self.blocks = nn.ModuleList(Block(block_config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(self.dim, eps=encoder_config.layer_norm_eps)
        self.prediction = nn.Linear(self.dim, target_dim)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, masked: Masked, audio: PatchedAudio) -> Tensor:
        """(batch, num_kept, encoder dim) -> prediction (batch, num_patches, target_dim)."""
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


class MaskedPrediction(Objective, Generic[TargetsType]):
    """Hide, encode, decode, compare; its children make the targets and compare them.

    Args:
        encoder: that learns.
        config: masks and decoder.
        target_dim: values that the decoder answers with at each place.
    """

    def __init__(self, encoder: AudioEncoder, config: PredictionConfig, target_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.masking = config
        self.decoder = Decoder(encoder.config, config, target_dim)

    @abstractmethod
    def make_targets(self, heard: Heard, audio: PatchedAudio) -> TargetsType:
        """Of every patch of every clip.

        Args:
            heard: the batch.
            audio: its patches as the encoder gets them.
        """

    @abstractmethod
    def compare(self, answers: Answers, targets: TargetsType) -> StepOutput:
        """The loss of num_masks * batch answers against the batch's targets."""

    @abstractmethod
    def target_vectors(self, targets: TargetsType) -> Tensor:
        """(batch, num_patches, dim) of targets, for watching them."""

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of one batch."""
        return self.learn(hear(batch))[0]

    def learn(self, heard: Heard) -> tuple[StepOutput, AudioEncoderOutput]:
        """The loss, and the visible tokens of num_masks * batch rows for a second loss on them."""
        audio = self.encoder.patch_audio(heard.changed, heard.num_samples)
        answers = self.answer(audio, heard.keys)
        output = self.compare(answers, self.make_targets(heard, audio))
        tokens = answers.encoded.last_hidden_state.detach().float()
        return (
            StepOutput(output.loss, {"token_std": tokens.std(dim=(0, 1)).mean(), **output.metrics}),
            answers.encoded,
        )

    def inspect_learning(self, batch: Batch) -> dict[str, Level]:
        """Targets of whole clips, and answers at the hidden places."""
        return self.inspect_heard(hear(batch))

    def inspect_heard(self, heard: Heard) -> dict[str, Level]:
        """The same of what is heard."""
        audio = self.encoder.patch_audio(heard.changed, heard.num_samples)
        answers = self.answer(audio, heard.keys)
        targets = self.target_vectors(self.make_targets(heard, audio))
        return {
            "target": Level(targets, ~audio.padding_mask),
            "prediction": Level(answers.prediction, answers.masked.mask),
        }

    def answer(self, audio: PatchedAudio, keys: Tensor) -> Answers:
        """Encodes and decodes under the masks that the (batch,) int64 keys draw."""
        masked = draw_masks(keys, self.masking, audio.grid, audio.padding_mask)
        audio = audio.repeat(self.masking.num_masks)
        encoded = self.encoder.encode(audio, masked)
        return Answers(self.decoder(encoded.last_hidden_state, masked, audio), encoded, masked)
