"""Transformer blocks of the encoder and of decoders."""

from collections.abc import Iterable
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from ssl_audio.encoder_config import AudioEncoderConfig


class Attention(nn.Module):
    """Multi-head self-attention in the form that ``config._attn_implementation`` names."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """(batch, tokens, dim), additive (batch, 1, 1, tokens) bias -> (batch, tokens, dim)."""
        query, key, value = rearrange(
            self.qkv(tokens),
            "batch token (three head dim) -> three batch head token dim",
            three=3,
            head=self.num_heads,
        )
        if self.config._attn_implementation == "sdpa":
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        else:
            scores = (query * query.shape[-1] ** -0.5) @ key.mT
            mixed = (scores if bias is None else scores + bias).softmax(-1) @ value
        return self.output(rearrange(mixed, "batch head token dim -> batch token (head dim)"))


class Block(GradientCheckpointingLayer):
    """Pre-norm transformer block."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.attention_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(dim, config.mlp_ratio * dim),
            nn.GELU(),
            nn.Linear(config.mlp_ratio * dim, dim),
        )

    def forward(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """(batch, tokens, dim) -> the same shape."""
        tokens = tokens + self.attention(self.attention_norm(tokens), bias)
        return tokens + self.mlp(self.mlp_norm(tokens))


class Stack(nn.ModuleList):
    """Blocks one after the other."""

    def forward(self, tokens: Tensor, bias: Tensor | None) -> list[Tensor]:
        """(batch, tokens, dim) -> the same shape of what goes in and of every block's output."""
        levels = [tokens]
        for block in self:
            levels.append(block(levels[-1], bias))
        return levels


def recompute_blocks(module: nn.Module) -> None:
    """Makes the blocks in a module keep their inputs only; the backward pass computes the rest."""
    recompute_layers(_learning_blocks(module))


def recompute_layers(layers: Iterable[nn.Module]) -> None:
    """Makes layers of transformers keep their inputs only; the backward pass computes the rest.

    Args:
        layers: ``GradientCheckpointingLayer`` each.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 4.
    """
    for layer in layers:
        layer.gradient_checkpointing = True  # type: ignore[assignment]
        again = partial(checkpoint, use_reentrant=False)
        layer._gradient_checkpointing_func = again  # type: ignore[assignment]


def compile_blocks(module: nn.Module) -> None:
    """Makes torch compile the blocks in a module when they are first used, a stack as one."""
    in_stacks: set[nn.Module] = set()
    for stack in module.modules():
        if isinstance(stack, Stack) and _learns(stack):
            stack.compile()
            in_stacks.update(stack)
    for block in _learning_blocks(module):
        if block not in in_stacks:
            block.compile()


def _learning_blocks(module: nn.Module) -> list[nn.Module]:
    return [
        block
        for block in module.modules()
        if isinstance(block, GradientCheckpointingLayer) and _learns(block)
    ]


def _learns(layer: nn.Module) -> bool:
    """Those of a teacher don't: it has no backward pass."""
    return any(weight.requires_grad for weight in layer.parameters())


def attention_bias(padding_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, tokens) bool -> additive (batch, 1, 1, tokens): 0 where valid, -inf at padding."""
    bias = torch.zeros(padding_mask.shape, dtype=dtype, device=padding_mask.device)
    return bias.masked_fill(padding_mask, -torch.inf)[:, None, None, :]
