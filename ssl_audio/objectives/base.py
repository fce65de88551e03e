"""What the training loop needs of an objective."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ssl_audio.encoder import AudioEncoder

Batch = dict[str, Tensor]
"""What a stream yields, on the device: ``waveform`` (batch, samples) int16 at 16 kHz,
``num_samples``, ``keys`` (see ``draws``) and ``clip_indices`` (batch,) int64."""


@dataclass(frozen=True)
class StepOutput:
    """Result of one forward pass of a trainable module.

    Attributes:
        loss: scalar, a mean over clips so that means over processes and micro-batches are exact.
        metrics: scalar tensors to log, detached.
    """

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Reconstruction:
    """Three (batch, mel, frames) float32 pictures of normalised log-mel, and the valid frames.

    Attributes:
        original: what the front end made.
        masked: the same with hidden patches set to NaN.
        reconstructed: visible patches as they are, hidden ones as predicted.
        num_frames: (batch,) int64.
    """

    original: Tensor
    masked: Tensor
    reconstructed: Tensor
    num_frames: Tensor


def to_float(waveform: Tensor) -> Tensor:
    """int16 samples to float32 in [-1, 1)."""
    return waveform.to(torch.float32) / 32768.0


class Objective(nn.Module, ABC):
    """A module that holds an encoder, takes a ``Batch`` and returns a ``StepOutput``."""

    encoder: AudioEncoder

    @abstractmethod
    def forward(self, batch: Batch) -> StepOutput:
        """One training step's loss."""

    def reconstruct(self, batch: Batch) -> Reconstruction | None:
        """Pictures of what the objective makes of hidden parts; None if it reconstructs nothing."""
        return None
