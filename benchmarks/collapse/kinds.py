"""Objectives of small runs, as differences from their defaults."""

from typing import Any

_SMALL = {"dim": 32, "layers": 1}
_DECODER = {"decoder": {"kind": "transformer", "heads": 2, **_SMALL}}
_CONVOLUTIONS = {"decoder": {"kind": "convolution", "groups": 4, **_SMALL}}
MASKED: dict[str, Any] = {"kind": "masked", **_DECODER}
QUANTIZED: dict[str, Any] = {"kind": "quantized", "num_clusters": 32, **_DECODER}
PROJECTED: dict[str, Any] = {**QUANTIZED, "targets": "random_projection"}
DESCRIPTORS: dict[str, Any] = {"kind": "descriptors", **_DECODER}
LATENT: dict[str, Any] = {"kind": "latent", "average_layers": 2, "num_masks": 2, **_CONVOLUTIONS}
_VIEWS = {"view_seconds": 0.5, "projection_dim": 16}
CONTRASTIVE: dict[str, Any] = {"kind": "contrastive", **_VIEWS}
BILINEAR: dict[str, Any] = {**CONTRASTIVE, "similarity": "bilinear"}
JOINT: dict[str, Any] = {"kind": "joint", "prediction": QUANTIZED, "contrast": _VIEWS}
DEEP: dict[str, Any] = {"hidden_size": 48, "num_hidden_layers": 12, "num_attention_heads": 3}
"""An encoder as deep as the tiny one."""
