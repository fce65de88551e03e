"""Light decoders: from the visible tokens to an answer at every place that is to be predicted.

Source: He et al. 2022 (MAE), section 3, for mask tokens, positions and a few transformer blocks;
Baevski et al. 2022 (data2vec 2.0), section 3.2 and its released code, for residual grouped
convolutions, each with a norm without weights and GELU. We differ from the latter: hidden places
begin as a learnt token and not as noise, places have positions, a linear layer comes before the
first convolution and a norm before the answer, nothing is dropped, and padding is not heard.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

import torch
from einops import rearrange
from pydantic import Discriminator, Field, Tag, model_validator
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from ssl_audio.config import Variant, kind_or
from ssl_audio.encoder import PatchedAudio
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.masking import Masked
from ssl_audio.patches import Grid, grid_positions
from ssl_audio.transformer import Block, Stack, attention_bias


class DecoderConfig(Variant):
    """Size of a decoder.

    Attributes:
        dim: its width.
        layers: blocks or convolutions.
    """

    dim: int = Field(default=192, gt=0)
    layers: int = Field(default=2, gt=0)


class TransformerDecoderConfig(DecoderConfig):
    """Visible places and those to be predicted hear each other; others are not there.

    Attributes:
        heads: attention heads of each block.
    """

    kind: Literal["transformer"] = "transformer"
    heads: int = Field(default=3, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        least = math.lcm(4, 2 * self.heads)
        if self.dim % least:
            raise ValueError(f"dim must be a multiple of 4 and of 2 x heads: of {least}")
        return self


class ConvolutionDecoderConfig(DecoderConfig):
    """A place hears its neighbours, at a fraction of the operations.

    A hidden place with nothing visible within ``layers`` times half a kernel, 12 places by default,
    can only be told by its position: of three quarters hidden in inverse blocks of 5 that are some
    17 % at 3 s, in random places .2 %.

    Attributes:
        kernel_size: places along time; along frequency too where the grid has several rows.
        groups: of channels that are not mixed.
    """

    kind: Literal["convolution"] = "convolution"
    layers: int = Field(default=4, gt=0)
    kernel_size: int = Field(default=7, gt=0)
    groups: int = Field(default=16, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dim % self.groups or self.dim % 4:
            raise ValueError(f"dim must be a multiple of 4 and of groups = {self.groups}")
        if self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd")
        return self


_Variants = (
    Annotated[TransformerDecoderConfig, Tag("transformer")]
    | Annotated[ConvolutionDecoderConfig, Tag("convolution")]
)
AnyDecoderConfig = Annotated[_Variants, Discriminator(kind_or("transformer"))]
"""Of any decoder; a transformer unless ``kind`` says otherwise."""
ConvolutionUnlessNamed = Annotated[_Variants, Discriminator(kind_or("convolution"))]
"""Of any decoder; convolutions unless ``kind`` says otherwise."""


class Decoder(nn.Module, ABC):
    """Puts visible tokens in their places, lets places hear each other, answers at some of them.

    Args:
        encoder_config: of the encoder whose tokens come.
        config: width.
        target_dim: values of an answer.
    """

    def __init__(
        self, encoder_config: AudioEncoderConfig, config: DecoderConfig, target_dim: int
    ) -> None:
        super().__init__()
        self.dim = config.dim
        self.embedding = nn.Linear(encoder_config.hidden_size, self.dim)
        self.mask_token = nn.Parameter(torch.zeros(self.dim))
        self.norm = nn.LayerNorm(self.dim, eps=encoder_config.layer_norm_eps)
        self.prediction = nn.Linear(self.dim, target_dim)
        nn.init.normal_(self.mask_token, std=0.02)

    @abstractmethod
    def decode(
        self, visible: Tensor, positions: Tensor, masked: Masked, audio: PatchedAudio
    ) -> Tensor:
        """What the places to be predicted make of the visible ones.

        Args:
            visible: (batch, num_kept, dim) embedded tokens, without their positions.
            positions: (num_patches, dim) float32.
            masked: which places they are.
            audio: of which they are places.

        Returns:
            (batch, num_predicted, dim).
        """

    def forward(self, tokens: Tensor, masked: Masked, audio: PatchedAudio) -> Tensor:
        """(batch, num_kept, encoder dim) -> prediction (batch, num_predicted, target_dim)."""
        positions = grid_positions(audio.grid, self.dim, tokens.device)
        decoded = self.decode(self.embedding(tokens), positions, masked, audio)
        # Under FSDP2 in bfloat16 weights are narrower than what positions made of the tokens.
        return self.prediction(self.norm(decoded.to(self.norm.weight.dtype)))


class TransformerDecoder(Decoder):
    """A few transformer blocks."""

    def __init__(
        self,
        encoder_config: AudioEncoderConfig,
        config: TransformerDecoderConfig,
        target_dim: int,
    ) -> None:
        super().__init__(encoder_config, config, target_dim)
        block_config = AudioEncoderConfig(
            hidden_size=config.dim, num_attention_heads=config.heads
        ).with_attention(encoder_config._attn_implementation or "sdpa")
        self.blocks = Stack(Block(block_config) for _ in range(config.layers))

    def decode(
        self, visible: Tensor, positions: Tensor, masked: Masked, audio: PatchedAudio
    ) -> Tensor:
        """Through all blocks."""
        places = torch.cat([masked.ids_keep, masked.ids_predict], dim=1)
        unknown = self.mask_token.to(visible.dtype).expand(*masked.ids_predict.shape, self.dim)
        tokens = torch.cat([visible, unknown], dim=1) + positions[places]
        padding_mask = torch.cat([masked.keep_padding_mask, masked.predict_padding_mask], dim=1)
        bias = attention_bias(padding_mask, tokens.dtype)
        decoded = self.blocks(tokens, bias)[-1]
        return decoded[:, visible.shape[1] :]


class ConvolutionDecoder(Decoder):
    """A few grouped convolutions."""

    def __init__(
        self,
        encoder_config: AudioEncoderConfig,
        config: ConvolutionDecoderConfig,
        target_dim: int,
    ) -> None:
        super().__init__(encoder_config, config, target_dim)
        one_row = encoder_config.n_mels == encoder_config.patch_size[0]
        self.blocks = nn.ModuleList(
            ConvolutionBlock(config, 1 if one_row else config.kernel_size)
            for _ in range(config.layers)
        )

    def decode(
        self, visible: Tensor, positions: Tensor, masked: Masked, audio: PatchedAudio
    ) -> Tensor:
        """Through all blocks, over all places: a place hears those that lie near it."""
        unknown = self.mask_token.to(visible.dtype)
        # Rows with fewer visible patches are filled up with hidden ones: those keep the mask token.
        visible = torch.where(masked.keep_padding_mask[:, :, None], unknown, visible)
        full = unknown.expand(*masked.mask.shape, self.dim)
        tokens = full.scatter(1, masked.ids_keep[:, :, None].expand(-1, -1, self.dim), visible)
        mixed = self.mix(tokens + positions, audio)
        return mixed.take_along_dim(masked.ids_predict[:, :, None], dim=1)

    def mix(self, tokens: Tensor, audio: PatchedAudio) -> Tensor:
        """(batch, num_patches, dim) of single places -> the same, each having heard others.

        What lies beyond a clip's end is silent.
        """
        for block in self.blocks:
            tokens = block(tokens.masked_fill(audio.padding_mask[:, :, None], 0.0), audio.grid)
        return tokens


class ConvolutionBlock(GradientCheckpointingLayer):
    """Convolution, norm, GELU, added to what came in.

    Args:
        config: size.
        rows: of patches along frequency that a place hears.
    """

    def __init__(self, config: ConvolutionDecoderConfig, rows: int) -> None:
        super().__init__()
        kernel = (rows, config.kernel_size)
        self.convolution = nn.Conv2d(
            config.dim,
            config.dim,
            kernel,
            padding=(kernel[0] // 2, kernel[1] // 2),
            groups=config.groups,
        )
        self.norm = nn.LayerNorm(config.dim, elementwise_affine=False)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """(batch, num_patches, dim) -> the same shape."""
        # Channels stay last in memory, which is how convolutions are fastest on a CPU.
        picture = rearrange(
            tokens, "batch (freq time) dim -> batch dim freq time", freq=grid.freq_patches
        )
        heard = rearrange(self.convolution(picture), "batch dim freq time -> batch (freq time) dim")
        return tokens + functional.gelu(self.norm(heard))


def build_decoder(
    encoder_config: AudioEncoderConfig, config: DecoderConfig, target_dim: int
) -> Decoder:
    """The decoder that a configuration describes."""
    if isinstance(config, ConvolutionDecoderConfig):
        return ConvolutionDecoder(encoder_config, config, target_dim)
    assert isinstance(config, TransformerDecoderConfig)
    return TransformerDecoder(encoder_config, config, target_dim)
