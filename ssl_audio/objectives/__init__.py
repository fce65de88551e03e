"""Ways of learning without labels, one file each."""

from ssl_audio.objectives.base import Batch, Objective, StepOutput
from ssl_audio.objectives.masked import MaskedObjective

__all__ = ["OBJECTIVES", "Batch", "Objective", "StepOutput"]

OBJECTIVES = {"masked": MaskedObjective}
"""Objectives by the ``kind`` of their configuration."""
