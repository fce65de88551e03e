"""Ways of learning without labels, one file each."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from ssl_audio.config import kind_or
from ssl_audio.objectives.base import Batch, Objective, StepOutput
from ssl_audio.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from ssl_audio.objectives.descriptors import DescriptorsConfig
from ssl_audio.objectives.forms import PREDICTIONS
from ssl_audio.objectives.joint import JointConfig, JointObjective
from ssl_audio.objectives.latent import LatentConfig
from ssl_audio.objectives.masked import MaskedConfig
from ssl_audio.objectives.quantized import QuantizedConfig

__all__ = ["OBJECTIVES", "Batch", "Objective", "ObjectiveConfig", "StepOutput"]

OBJECTIVES: dict[str, Any] = {
    **PREDICTIONS,
    "contrastive": ContrastiveObjective,
    "joint": JointObjective,
}
"""Objectives by the ``kind`` of their configuration."""

ObjectiveConfig = Annotated[
    Annotated[MaskedConfig, Tag("masked")]
    | Annotated[ContrastiveConfig, Tag("contrastive")]
    | Annotated[LatentConfig, Tag("latent")]
    | Annotated[JointConfig, Tag("joint")]
    | Annotated[QuantizedConfig, Tag("quantized")]
    | Annotated[DescriptorsConfig, Tag("descriptors")],
    Discriminator(kind_or("masked")),
]
"""Of any objective; masked unless ``kind`` says otherwise."""
