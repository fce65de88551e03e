"""Choices made by a short measurement at a run's start, stored with it and reused on resume.

A process measures once, so that equal runs of one process make equal choices.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import torch
from torch import nn

from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.transformer import Block

Precision = Literal["float32", "bfloat16"]
AttentionForm = Literal["eager", "sdpa"]


@cache
def choose_precision(device: torch.device) -> Precision:
    """bfloat16 where the device computes it natively.

    On a CPU a matrix product of both is timed: emulated bfloat16 is slower than float32.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    single = torch.randn(512, 512, device=device)
    half = single.bfloat16()
    of_half, of_single = _best_seconds([lambda: half @ half, lambda: single @ single])
    return "bfloat16" if of_half < 0.67 * of_single else "float32"


def choose_attention(
    config: AudioEncoderConfig, tokens: int, device: torch.device, precision: Precision
) -> AttentionForm:
    """The faster form of attention, forward and backward, at these sizes.

    On a GPU it is torch's fused one. bfloat16 flash attention trains slowly on CPUs, so there both
    are timed on one block.

    Args:
        config: of the encoder.
        tokens: that a clip has.
        device: to run on.
        precision: of autocast.
    """
    if device.type == "cuda":
        return "sdpa"
    return _faster_form(config.hidden_size, config.num_attention_heads, tokens, device, precision)


@cache
def _faster_form(
    hidden_size: int, heads: int, tokens: int, device: torch.device, precision: Precision
) -> AttentionForm:
    shape = AudioEncoderConfig(hidden_size=hidden_size, num_attention_heads=heads)
    forms: tuple[AttentionForm, ...] = ("eager", "sdpa")
    steps = [_build_step(shape.with_attention(form), tokens, device, precision) for form in forms]
    seconds = _best_seconds(steps)
    return forms[seconds.index(min(seconds))]


def _build_step(
    shape: AudioEncoderConfig, tokens: int, device: torch.device, precision: Precision
) -> Callable[[], object]:
    block: nn.Module = Block(shape).to(device)
    inputs = torch.randn(8, tokens, shape.hidden_size, device=device)
    bias = torch.zeros(8, 1, 1, tokens, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            output = block(inputs, bias)
        output.float().sum().backward()

    return step


def _best_seconds(functions: Sequence[Callable[[], object]], rounds: int = 12) -> list[float]:
    """Of each function; they take turns, so that what the machine does meanwhile meets all alike.

    Args:
        functions: to time.
        rounds: of one call each; those that warm up are slower and so don't count.
    """
    best = [math.inf] * len(functions)
    for _ in range(rounds):
        for place, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[place] = min(best[place], time.perf_counter() - start)
    return best
