"""Runs in which nothing is wrong."""

from benchmarks.collapse.breaking import set_samples
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


def list_healthy() -> list[Case]:
    """Runs that must not be stopped, some of them unusual."""
    return [
        *(
            Case(kind["kind"], (), kind)
            for kind in (MASKED, QUANTIZED, DESCRIPTORS, LATENT, CONTRASTIVE, JOINT)
        ),
        Case("random projection", (), PROJECTED),
        Case("bilinear", (), BILINEAR),
        Case("teacher that hardly moves", (), {**LATENT, "ema_start": 1e6, "ema_end": 1e6}),
        Case(
            "fast teacher, targets as they are, utterance loss",
            (),
            {**LATENT, "target_norm": "none", "ema_start": 0.005, "ema_end": 0.005},
        ),
        *(
            Case(f"{kind['kind']}, twelve blocks", (), kind, encoder=DEEP)
            for kind in (MASKED, LATENT)
        ),
        Case("some silent clips", (), QUANTIZED, spoil=set_samples(0, 0.2)),
        Case("contrast of two clips", (), CONTRASTIVE, {"batch_size": 2}),
        Case("high rate", (), MASKED, {"lr": 4e-3}),
        Case(
            "latent of channels, small batch",
            (),
            {**LATENT, "target_norm": "channels"},
            {"batch_size": 8},
        ),
    ]
