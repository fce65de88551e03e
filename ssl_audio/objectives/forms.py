"""The masked predictions, any of which the joint objective can take."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from ssl_audio.config import kind_or
from ssl_audio.objectives.descriptors import DescriptorsConfig, DescriptorsObjective
from ssl_audio.objectives.latent import LatentConfig, LatentObjective
from ssl_audio.objectives.masked import MaskedConfig, MaskedObjective
from ssl_audio.objectives.quantized import QuantizedConfig, QuantizedObjective

PREDICTIONS: dict[str, Any] = {
    "masked": MaskedObjective,
    "latent": LatentObjective,
    "quantized": QuantizedObjective,
    "descriptors": DescriptorsObjective,
}
"""Objectives by the ``kind`` of their configuration."""


AnyPredictionConfig = Annotated[
    Annotated[MaskedConfig, Tag("masked")]
    | Annotated[LatentConfig, Tag("latent")]
    | Annotated[QuantizedConfig, Tag("quantized")]
    | Annotated[DescriptorsConfig, Tag("descriptors")],
    Discriminator(kind_or("masked")),
]
