"""Ways of learning without labels, one file each."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from ssl_audio.objectives.base import Batch, Objective, StepOutput
from ssl_audio.objectives.contrastive import ContrastiveConfig, ContrastiveObjective
from ssl_audio.objectives.masked import MaskedConfig, MaskedObjective

__all__ = ["OBJECTIVES", "Batch", "Objective", "ObjectiveConfig", "StepOutput"]

OBJECTIVES: dict[str, Any] = {"masked": MaskedObjective, "contrastive": ContrastiveObjective}
"""Objectives by the ``kind`` of their configuration."""


def _find_kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return str(value.get("kind", "masked"))
    return getattr(value, "kind", None)


ObjectiveConfig = Annotated[
    Annotated[MaskedConfig, Tag("masked")] | Annotated[ContrastiveConfig, Tag("contrastive")],
    Discriminator(_find_kind),
]
"""Of any objective; masked unless ``kind`` says otherwise."""
