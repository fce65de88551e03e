"""Seeded failures of pretraining, by cause."""

from typing import Any

import torch

from benchmarks.collapse.breaking import (
    fill,
    fill_buffer,
    flatten_tokens,
    merge_clips,
    on_output,
    repeat_first,
    scale,
    scale_gradients,
    set_samples,
)
from benchmarks.collapse.case import Case
from benchmarks.collapse.kinds import (
    BILINEAR,
    CONTRASTIVE,
    DEEP,
    DESCRIPTORS,
    JOINT,
    LATENT,
    MASKED,
    PROJECTED,
    QUANTIZED,
)
from ssl_audio.objectives import Objective

_AS_IT_IS = {**LATENT, "target_norm": "none", "utterance_weight": 0.0}
_OVER_CHANNELS = {**_AS_IT_IS, "target_norm": "channels"}
_FAST_RUN = {"max_steps": 400, "lr": 3e-3}
_ANY_BLOCK = ("patch_embedding", "block_1", "block_2", "block_3", "cls", "embedding")
_DIVERGED = (*_ANY_BLOCK, "prediction", "projection", "loss", "gradient")


def list_failures() -> list[Case]:
    """Every cause, in an order in which neighbours are of different families.

    The thresholds were set on the first, third, ... and are reported on the others.
    """
    return [
        *_of_sound(),
        *_of_the_encoder(),
        *_of_answers(),
        *_of_targets(),
        *_of_the_optimizer(),
    ]


def _of_sound() -> list[Case]:
    return [
        Case(
            "NaN audio, one clip a batch", ("waveform",), MASKED, spoil=set_samples(torch.nan, 0.1)
        ),
        Case(
            "infinite audio, one clip a batch",
            ("waveform",),
            CONTRASTIVE,
            spoil=set_samples(torch.inf, 0.1),
        ),
        Case("silent audio", ("waveform",), QUANTIZED, spoil=set_samples(0)),
        Case("three clips of four constant", ("waveform",), MASKED, spoil=set_samples(1000, 0.75)),
        Case("every clip the same audio", ("waveform",), LATENT, spoil=repeat_first),
        Case("one clip in the pool, no negatives", ("projection", "loss"), CONTRASTIVE, clips=1),
        Case(
            "normalisation by far too much",
            ("log_mel",),
            CONTRASTIVE,
            build=fill_buffer("encoder.log_mel_std", 1e8),
        ),
        Case(
            "normalisation by zero",
            ("log_mel",),
            MASKED,
            build=fill_buffer("encoder.log_mel_std", 0.0),
        ),
    ]


_PATCHES = "encoder.patch_embedding"


def _ends_of(block: int) -> tuple[str, str]:
    """The layers by which a block, counted from 1, adds to its input."""
    name = f"encoder.blocks.{block - 1}"
    return f"{name}.attention.output", f"{name}.mlp.2"


def _set_cls(objective: Objective) -> None:
    token = objective.encoder.cls_token
    with torch.no_grad():
        token.copy_(torch.linspace(-1e4, 1e4, token.shape[-1]))


def _of_the_encoder() -> list[Case]:
    return [
        Case("patch embedding zeroed", ("patch_embedding",), MASKED, hold=fill(_PATCHES)),
        Case(
            "patch embedding zero from the start",
            ("patch_embedding",),
            QUANTIZED,
            build=fill(_PATCHES),
            hold=fill(_PATCHES),
        ),
        Case(
            "patch embedding drowned by its bias",
            ("patch_embedding",),
            LATENT,
            hold=fill(_PATCHES, bias=30.0),
        ),
        Case(
            "patch embedding shrinks by a fifth a step",
            ("patch_embedding",),
            QUANTIZED,
            hold=scale(_PATCHES, 0.8),
        ),
        Case(
            "patch embedding shrinks by a tenth a step",
            ("patch_embedding",),
            CONTRASTIVE,
            hold=scale(_PATCHES, 0.9),
        ),
        Case(
            "second block shrinks by a tenth a step",
            ("block_2",),
            DESCRIPTORS,
            hold=scale("encoder.blocks.1", 0.9),
        ),
        Case("second block zeroed", ("block_2",), MASKED, hold=fill(*_ends_of(2))),
        Case(
            "first block drowned by its bias",
            ("block_1",),
            CONTRASTIVE,
            hold=fill(*_ends_of(1), bias=1e3),
        ),
        Case(
            "last block zero from the start",
            ("block_3",),
            DESCRIPTORS,
            build=fill(*_ends_of(3)),
            hold=fill(*_ends_of(3)),
        ),
        Case(
            "second block grows by a fifth a step",
            ("block_2", "loss", "gradient"),
            JOINT,
            hold=scale("encoder.blocks.1", 1.2),
        ),
        Case("cls token drowns what it hears", ("cls",), LATENT, hold=_set_cls),
        Case(
            "cls the same for all clips",
            ("cls",),
            MASKED,
            build=on_output("encoder.norm", merge_clips),
        ),
        Case(
            "output norm zeroed",
            ("cls", "embedding"),
            QUANTIZED,
            hold=fill("encoder.norm", bias=1.0),
        ),
        Case(
            "embedding of one dimension",
            ("embedding",),
            CONTRASTIVE,
            build=on_output("encoder.norm", flatten_tokens),
        ),
    ]


def _of_answers() -> list[Case]:
    return [
        Case(
            "answers the same everywhere",
            ("prediction",),
            MASKED,
            hold=fill("decoder.prediction", bias=0.5),
        ),
        Case("decoder's norm zeroed", ("prediction",), QUANTIZED, hold=fill("decoder.norm")),
        Case("nothing hidden", ("prediction",), {**MASKED, "mask_ratio": 0.0}),
        Case(
            "share to hide rounds to nothing", ("prediction",), {**DESCRIPTORS, "mask_ratio": 0.01}
        ),
        Case(
            "projection zeroed",
            ("projection",),
            CONTRASTIVE,
            hold=fill("contrast.projection.2", bias=1.0),
        ),
        Case(
            "projection's first layer dead",
            ("projection",),
            JOINT,
            hold=fill("contrast.projection.0", bias=-9.0),
        ),
        Case(
            "projection drowned by its bias",
            ("projection",),
            BILINEAR,
            hold=fill("contrast.projection.2", weight=1e-4, bias=3.0),
        ),
        Case(
            "decoder hears nothing, masked",
            ("prediction",),
            MASKED,
            hold=fill("decoder.embedding", bias=0.5),
        ),
        Case(
            "decoder hears nothing, latent", ("prediction",), LATENT, hold=fill("decoder.embedding")
        ),
    ]


def _pace(share: float) -> dict[str, float]:
    return {"ema_start": share, "ema_end": share}


def _deep(cause: str, objective: dict[str, Any], pace: float) -> Case:
    """An encoder as deep as the tiny one that fails by its teacher."""
    return Case(
        cause,
        ("embedding", "target"),
        {**objective, **_pace(pace), "average_layers": 8},
        {"max_steps": 400, "lr": 5e-4, "warmup_steps": 40},
        encoder=DEEP,
    )


def _of_targets() -> list[Case]:
    runaway = ("target", "loss")
    fading = {**_AS_IT_IS, **_pace(1e6)}
    return [
        Case(
            "fast teacher, targets as they are", runaway, {**_AS_IT_IS, **_pace(0.005)}, _FAST_RUN
        ),
        Case("teacher that is the student", runaway, {**_AS_IT_IS, **_pace(0.001)}, _FAST_RUN),
        Case(
            "targets fade slowly under a falling loss",
            ("target",),
            fading,
            hold=scale("teacher", 0.98),
        ),
        Case("teacher zeroed", ("target",), LATENT, hold=fill("teacher")),
        Case(
            "centres all equal", ("target",), QUANTIZED, build=fill_buffer("quantizer.centres", 0.0)
        ),
        Case(
            "codebook without a projection",
            ("target",),
            PROJECTED,
            build=fill_buffer("quantizer.projection", 0.0),
        ),
        Case("codes all equal", ("target",), PROJECTED, build=fill_buffer("quantizer.codes", 0.25)),
        Case(
            "descriptors constant", ("target",), DESCRIPTORS, build=fill_buffer("deviation", 1e12)
        ),
        Case(
            "nearest to one centre",
            ("target",),
            QUANTIZED,
            build=fill_buffer("quantizer.mean", 1e9),
        ),
        Case("targets fade under a falling loss", ("target",), fading, hold=scale("teacher", 0.96)),
        Case(
            "teacher's last block drowned by its bias",
            ("target",),
            fading,
            hold=fill("teacher.blocks.2.mlp.2", bias=1e3),
        ),
        _deep("deep student, fast teacher, targets as they are", _AS_IT_IS, 0.005),
        _deep("deep student that is its teacher, targets as they are", _AS_IT_IS, 0.001),
        _deep(
            "deep student that is its teacher, targets normalised over channels",
            _OVER_CHANNELS,
            0.001,
        ),
        _deep(
            "deep student, fast teacher, targets normalised over channels", _OVER_CHANNELS, 0.005
        ),
    ]


def _of_the_optimizer() -> list[Case]:
    return [
        Case(
            "rate a thousand times too high, masked",
            _DIVERGED,
            MASKED,
            {"lr": 1.0, "warmup_steps": 0},
        ),
        Case(
            "rate a thousand times too high, contrastive",
            _DIVERGED,
            CONTRASTIVE,
            {"lr": 1.0, "warmup_steps": 0},
        ),
        Case("rate without any bound", _DIVERGED, QUANTIZED, {"lr": 1e30, "warmup_steps": 0}),
        Case("weight decay kills, contrastive", _ANY_BLOCK, CONTRASTIVE, {"weight_decay": 200.0}),
        Case("weight decay kills, masked", _ANY_BLOCK, MASKED, {"weight_decay": 200.0}),
        Case(
            "all blocks grow by a tenth a step",
            _DIVERGED,
            LATENT,
            hold=scale("encoder.blocks", 1.1),
        ),
        Case(
            "gradients a million times too large",
            ("gradient",),
            QUANTIZED,
            build=scale_gradients(1e6),
        ),
        Case("no gradient", ("gradient",), DESCRIPTORS, build=scale_gradients(0.0)),
        Case("temperature near zero", ("gradient", "loss"), {**CONTRASTIVE, "temperature": 1e-6}),
        Case(
            "temperature near infinity", ("gradient", "loss"), {**CONTRASTIVE, "temperature": 1e10}
        ),
    ]
