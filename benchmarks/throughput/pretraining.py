"""``throughput pretrain``: training steps of ours and of what a user would pick instead."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from benchmarks.throughput.rivals import (
    WAV2VEC2_FRAMES_PER_SECOND,
    build_vit_mae,
    build_wav2vec2,
)
from benchmarks.throughput.steps import LONGEST, Report, System, time_systems
from ssl_audio.allocation import keep_freed_memory
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import CropStream, StepSampler, build_loader
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig, Size
from ssl_audio.errors import UserError
from ssl_audio.objectives import OBJECTIVES
from ssl_audio.objectives.decoders import TransformerDecoderConfig
from ssl_audio.objectives.latent import LatentConfig
from ssl_audio.objectives.masked import MaskedConfig
from ssl_audio.probing import Precision, choose_attention, choose_precision
from ssl_audio.run_record import git_commit
from ssl_audio.transformer import compile_blocks

PATCHES_PER_SECOND = 25
_PAGE_SAMPLES = 2048
"""Of int16 in the least that systems read of a file."""


@dataclass(frozen=True)
class Scale:
    """How large everything is that a device is measured with.

    Attributes:
        size: of all encoders.
        larger: ours again, in another size.
        patches_a_side: of ViTMAE's pictures; our clips beside them have as many patches.
        clip_seconds: of clips that are compared with no picture.
        num_masks: of latent's rows.
    """

    size: Size
    larger: tuple[Size, ...]
    patches_a_side: int
    clip_seconds: float
    num_masks: tuple[int, ...]

    @property
    def num_patches(self) -> int:
        """Of a picture."""
        return self.patches_a_side**2

    @property
    def picture_seconds(self) -> float:
        """Of the clip that has as many patches as a picture."""
        return self.num_patches / PATCHES_PER_SECOND


ON_CPU = Scale("tiny", ("small",), 9, 3.0, (1, 4, 8))
ON_GPU = Scale("base", (), 16, 10.0, (1, 4, 16))


def measure_pretraining(
    corpus: PreparedCorpus, batch_size: int, rounds: int, seconds: float, device: torch.device
) -> Report:
    """Times every system in turn, at the scale of the device.

    Args:
        corpus: prepared, for the crops of ours.
        batch_size: clips of a step.
        rounds: that count; one more warms up.
        seconds: that each system trains in a round, one step at least.
        device: a CPU or a GPU.
    """
    git_commit()  # remembered as it is now
    keep_freed_memory()  # as our runs do; the others get it too
    scale = ON_CPU if device.type == "cpu" else ON_GPU
    return time_systems(list_systems(corpus, scale, batch_size, device), rounds, seconds)


def list_systems(
    corpus: PreparedCorpus, scale: Scale, batch_size: int, device: torch.device
) -> list[System]:
    """Ours and the others, the scale's size unless said."""
    shape = AudioEncoderConfig.of_size(scale.size)
    build = partial(build_ours, corpus, batch_size=batch_size, device=device)
    beside = partial(build, size=scale.size, seconds=scale.picture_seconds)
    masked = MaskedConfig()
    kinds = [
        partial(beside, "masked", config=masked),
        partial(beside, "masked, half predicted", config=MaskedConfig(prediction_ratio=0.5)),
    ]
    half: Precision = "bfloat16"
    single: Precision = "float32"
    visible = round(scale.num_patches * (1 - masked.mask_ratio))  # as shipped too
    rows = [
        row
        for kind in kinds
        for row in (kind(precision=half), _compiled(kind(precision=half)), kind(precision=single))
    ]
    for precision in (half, single):
        short = "bf16" if precision == half else "f32"
        like_ours = (TransformerDecoderConfig(), masked.mask_ratio)
        for (decoder, ratio), which in ((like_ours, "our decoder"), ((None, None), "as shipped")):
            built = build_vit_mae(shape, decoder, ratio, batch_size, scale.patches_a_side, device)
            name = f"ViTMAE, {which}, {short}"
            rows.append(_rival(name, *built, batch_size, scale, visible, precision, device))
        built = build_wav2vec2(shape, batch_size, scale.picture_seconds, device)
        frames = round(scale.picture_seconds * WAV2VEC2_FRAMES_PER_SECOND)
        name = f"wav2vec 2.0, {short}"
        rows.append(_rival(name, *built, batch_size, scale, frames, precision, device))
    # These are compared with no other's and so have the precision that a run would choose.
    alone = partial(build, seconds=scale.clip_seconds, precision=choose_precision(device))
    rows += [
        alone(f"latent, {masks} masks", scale.size, LatentConfig(num_masks=masks))
        for masks in scale.num_masks
    ]
    latent = LatentConfig()
    name = f"latent, {latent.num_masks} masks"
    rows.append(_compiled(alone(name, scale.size, latent)))
    for size in scale.larger:
        rows.append(alone("masked", size, masked))
        rows.append(alone(name, size, latent))
    return rows


def build_ours(
    corpus: PreparedCorpus,
    name: str,
    size: Size,
    config: Any,
    batch_size: int,
    seconds: float,
    precision: Precision,
    device: torch.device,
) -> System:
    """One of our objectives, fed from the prepared corpus as a run is.

    Raises:
        UserError: no clip of the corpus is long enough.
    """
    indices = np.flatnonzero(corpus.num_samples >= seconds * SAMPLE_RATE)
    if not len(indices):
        longest = corpus.num_samples.max() / SAMPLE_RATE
        raise UserError(
            f"{corpus.root}: crops of {seconds:g} s are timed, and its longest clip has "
            f"{longest:.2f} s"
        )
    shape = AudioEncoderConfig.of_size(size)
    tokens = round(seconds * PATCHES_PER_SECOND)
    form = choose_attention(shape, tokens, device, precision)
    encoder = AudioEncoder(shape.with_attention(form))
    objective = OBJECTIVES[config.kind](encoder, config).train().to(device)
    stream = CropStream(corpus, indices, 0, seconds)
    sampler = StepSampler(batch_size, 1, 0, LONGEST, 0, 1)
    loader: list[Iterator[Any]] = []

    def loss() -> tuple[Tensor, float]:
        started = time.perf_counter()
        if not loader:
            loader.append(iter(build_loader(stream, sampler, 0)))
        batch = send_to_device(next(loader[0]), device, non_blocking=True)
        waited = time.perf_counter() - started
        return objective(batch).loss, waited

    short = "bf16" if precision == "bfloat16" else "f32"
    views = batch_size * getattr(config, "num_masks", 1)
    title = f"ours, {name}, {size}, {short}"
    visible = round(tokens * (1 - config.mask_ratio))
    sizes = (batch_size, views, seconds, visible)
    return System(
        title,
        objective,
        loss,
        *sizes,
        precision,
        device,
        objective.after_step,
        before_round=lambda: bring_into_memory(corpus),
    )


def bring_into_memory(corpus: PreparedCorpus) -> None:
    """Reads a memory-mapped corpus, of which others that use much memory leave less there."""
    for view in corpus.views:
        view[::_PAGE_SAMPLES].max(initial=0)


def _compiled(system: System) -> System:
    """With ``train.compile``; operations can't be counted in what torch has compiled."""
    return replace(
        system,
        name=f"{system.name}, compiled",
        after_first=lambda: compile_blocks(system.module),
    )


def _rival(
    name: str,
    module: nn.Module,
    loss: Callable[[], Tensor],
    batch_size: int,
    scale: Scale,
    tokens: int,
    precision: Precision,
    device: torch.device,
) -> System:
    sizes = (batch_size, batch_size, scale.picture_seconds, tokens)
    return System(name, module, lambda: (loss(), 0.0), *sizes, precision, device)
