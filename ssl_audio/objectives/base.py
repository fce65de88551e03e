"""What the training loop needs of an objective."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.encoder import AudioEncoder

Ints = npt.NDArray[np.int64]

Batch = dict[str, Tensor]
"""What a stream yields, on the device: ``waveform`` (batch, samples) int16 at 16 kHz,
``num_samples``, ``keys`` (see ``draws``) and ``clip_indices`` (batch,) int64; to objectives that
need it also ``background`` and ``background_samples``, a crop of another clip for each one."""


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


@dataclass(frozen=True)
class Level:
    """What one stage of a model makes of a batch.

    Attributes:
        vectors: (clips, places, dim).
        counted: (clips, places) bool, False = padding, or not asked for.
    """

    vectors: Tensor
    counted: Tensor


def to_float(waveform: Tensor) -> Tensor:
    """int16 samples to float32 in [-1, 1)."""
    return waveform.to(torch.float32, copy=True).div_(32768.0)


@dataclass(frozen=True)
class Heard:
    """A batch as an objective hears it.

    Attributes:
        clean: (batch, samples) float32 waveform that targets are made of.
        changed: the same audio as the encoder gets it, perhaps louder or noisier.
        num_samples: (batch,) int64 true lengths.
        keys: (batch,) int64, see ``draws``.
    """

    clean: Tensor
    changed: Tensor
    num_samples: Tensor
    keys: Tensor


def hear(batch: Batch) -> Heard:
    """A batch that is heard as it is."""
    waveform = to_float(batch["waveform"])
    return Heard(waveform, waveform, batch["num_samples"], batch["keys"])


class Objective(nn.Module, ABC):
    """A module that holds an encoder, takes a ``Batch`` and returns a ``StepOutput``."""

    encoder: AudioEncoder

    @property
    def needs_background(self) -> bool:
        """Whether batches have to bring another clip for each one."""
        return False

    @abstractmethod
    def forward(self, batch: Batch) -> StepOutput:
        """One training step's loss."""

    def fit(self, corpus: PreparedCorpus, indices: Ints, seed: int) -> None:
        """Measures what the targets need on (num_clips,) clips, once, before the first step.

        What it finds has to be kept in buffers, so that a resumed run has the same.
        """

    def after_step(self, step: int, max_steps: int) -> None:
        """What follows the ``step``-th optimizer step, counted from 1: a teacher moves."""

    def inspect(self, batch: Batch) -> dict[str, Level]:
        """Every stage from the sound to the encoder's output, then ``inspect_learning``'s."""
        return {**inspect_encoder(self.encoder, hear(batch)), **self.inspect_learning(batch)}

    def inspect_learning(self, batch: Batch) -> dict[str, Level]:
        """Stages that an encoder does not have: ``target``, ``prediction``, ``projection``."""
        return {}

    def reconstruct(self, batch: Batch) -> Reconstruction | None:
        """Pictures of what the objective makes of hidden parts; None if it reconstructs nothing."""
        return None


def inspect_encoder(encoder: AudioEncoder, heard: Heard) -> dict[str, Level]:
    """Stages of an encoder that hears whole clips, nothing hidden.

    The patch embedding is taken without positions, which differ from place to place when it is
    dead; of each block it is what the block adds to its input.
    """
    sounding = torch.arange(heard.clean.shape[1], device=heard.clean.device)
    audio = encoder.patch_audio(heard.clean, heard.num_samples)
    output = encoder.encode(audio, output_hidden_states=True)
    assert output.hidden_states is not None
    stages = {"log_mel": audio.patches, "patch_embedding": encoder.patch_embedding(audio.patches)}
    for number, (before, after) in enumerate(pairwise(output.hidden_states), start=1):
        stages[f"block_{number}"] = after - before
    valid = ~audio.padding_mask
    return {
        "waveform": Level(heard.clean[..., None], sounding < heard.num_samples[:, None]),
        **{name: Level(vectors, valid) for name, vectors in stages.items()},
        "cls": Level(output.cls[:, None], valid.any(1, keepdim=True)),
        "embedding": Level(output.last_hidden_state, valid),
    }
