"""Masked-spectrogram reconstruction.

Source: the idea of Huang et al. 2022, "Masked Autoencoders that Listen" (AudioMAE), sections 3.1
to 3.3: the encoder sees the visible patches only, a light decoder predicts the hidden ones, targets
are normalised patch by patch. We differ: full-band patches of 40 ms and a decoder with global
attention by default, clips of any length with padding that counts nowhere, and a loss averaged clip
by clip.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ssl_audio.encoder import AudioEncoder, PatchedAudio
from ssl_audio.objectives.base import Batch, Heard, Reconstruction, StepOutput, hear
from ssl_audio.objectives.prediction import (
    Answers,
    MaskedPrediction,
    PredictionConfig,
    mean_over_predicted,
)
from ssl_audio.patches import unpatchify


class MaskedConfig(PredictionConfig):
    """Settings of the masked objective.

    Attributes:
        kind: names the objective.
    """

    kind: Literal["masked"] = "masked"


def normalise_patches(patches: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Each patch to mean 0 and variance 1: (..., patch_dim) -> the same shape."""
    return functional.layer_norm(patches, patches.shape[-1:], eps=epsilon)


class MaskedObjective(MaskedPrediction[Tensor]):
    """Encode the visible patches, decode hidden ones, compare them."""

    def __init__(self, encoder: AudioEncoder, config: MaskedConfig) -> None:
        size = encoder.config.patch_size
        super().__init__(encoder, config, size[0] * size[1])

    def make_targets(self, heard: Heard, audio: PatchedAudio) -> Tensor:
        """(batch, num_patches, patch_dim) normalised patches of the clean audio."""
        if heard.clean is not heard.changed:
            audio = self.encoder.patch_audio(heard.clean, heard.num_samples)
        return normalise_patches(audio.patches)

    def target_vectors(self, targets: Tensor) -> Tensor:
        """As they are."""
        return targets

    def compare(self, answers: Answers, targets: Tensor) -> StepOutput:
        """Mean squared error at predicted places."""
        difference = answers.prediction.float() - answers.at_predicted(targets)
        return StepOutput(mean_over_predicted(difference.square().mean(-1), answers.predicted))

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Reconstruction:
        """What the model sees under its first mask and what it makes of all the rest, as pictures.

        The prediction is normalised patch by patch; each is put back to the original's mean and
        deviation, which the model does not predict.
        """
        heard = hear(batch)
        audio = self.encoder.patch_audio(heard.changed, heard.num_samples)
        answers = self.answer_everywhere(audio, heard.keys)
        prediction = answers.on_grid()[0].float()
        mean = audio.patches.mean(-1, keepdim=True)
        deviation = audio.patches.std(-1, keepdim=True, correction=0)
        hidden = answers.masked.mask[:, :, None]
        size = self.encoder.config.patch_shape
        pictures = (
            audio.patches,
            audio.patches.masked_fill(hidden, torch.nan),
            torch.where(hidden, prediction * deviation + mean, audio.patches),
        )
        original, visible, completed = (unpatchify(p, audio.grid, size) for p in pictures)
        num_frames = self.encoder.log_mel.num_frames(heard.num_samples)
        return Reconstruction(original, visible, completed, num_frames)
