"""Latent prediction: what a slow copy of the encoder makes of the whole clip, at hidden places.

Source: Baevski et al. 2022 (data2vec 2.0), sections 3.1 to 3.3, for a teacher that hears the whole
clip once for several masks, and targets averaged over normalised layers; Chen et al. 2024 (EAT),
section 3.2, for the utterance loss on the cls token. We differ: the teacher's pace is a share of
the run, layers are taken with their residual stream, the utterance target is standardised over the
batch, and the decoder differs as ``decoders`` says.
"""

import copy
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ssl_audio.encoder import AudioEncoder, PatchedAudio
from ssl_audio.gathering import gather_with_gradient
from ssl_audio.objectives.base import Heard, StepOutput
from ssl_audio.objectives.decoders import ConvolutionDecoderConfig, ConvolutionUnlessNamed
from ssl_audio.objectives.prediction import (
    Answers,
    MaskedPrediction,
    PredictionConfig,
    mean_over_predicted,
)
from ssl_audio.pooling import mean_pool


class LatentConfig(PredictionConfig):
    """Settings of the latent objective.

    Attributes:
        kind: names the objective.
        mask_ratio: as ``MaskingConfig``'s.
        num_masks: that share one pass of the teacher.
        decoder: as ``PredictionConfig``'s.
        average_layers: last blocks of the teacher whose outputs are averaged.
        utterance_weight: of the cls token's loss.
        ema_start: time constant of the teacher at the start, as a share of the run.
        ema_end: at the end; it grows linearly between.
        target_norm: of each layer's output, over time, so that what never changes in a clip is no
            target, or over channels, or none.
    """

    kind: Literal["latent"] = "latent"
    mask: Literal["random", "block", "inverse_block"] = "inverse_block"
    mask_ratio: float = Field(default=0.75, ge=0, lt=1)
    num_masks: int = Field(default=4, gt=0)
    decoder: ConvolutionUnlessNamed = ConvolutionDecoderConfig()
    average_layers: int = Field(default=8, gt=0)
    utterance_weight: float = Field(default=1.0, ge=0)
    ema_start: float = Field(default=0.02, gt=0)
    ema_end: float = Field(default=0.2, gt=0)
    target_norm: Literal["time", "channels", "none"] = "time"

    @model_validator(mode="after")
    def _check_ema(self) -> Self:
        if self.ema_end < self.ema_start:
            raise ValueError(
                f"ema_end must be at least ema_start = {self.ema_start:g}, got {self.ema_end:g}"
            )
        return self


@dataclass(frozen=True)
class LatentTargets:
    """Of a batch.

    Attributes:
        local: (batch, num_patches, dim) float32 averaged, normalised layers of the teacher.
        utterance: (batch, dim) float32, of whole clips.
    """

    local: Tensor
    utterance: Tensor


class LatentObjective(MaskedPrediction[LatentTargets]):
    """Teacher hears all, student the visible patches; predict the teacher at hidden places."""

    def __init__(self, encoder: AudioEncoder, config: LatentConfig) -> None:
        dim = encoder.config.hidden_size
        super().__init__(encoder, config, dim)
        if config.average_layers > encoder.config.num_hidden_layers:
            raise ValueError(
                f"average_layers must be at most the encoder's {encoder.config.num_hidden_layers} "
                f"blocks, got {config.average_layers}"
            )
        self.config = config
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)
        self.utterance = nn.Linear(dim, dim)

    @torch.no_grad()
    def make_targets(self, heard: Heard, audio: PatchedAudio) -> LatentTargets:
        """What the teacher makes of the clean audio."""
        if heard.clean is not heard.changed:
            audio = self.teacher.patch_audio(heard.clean, heard.num_samples)
        levels = self.teacher.encode(audio, output_hidden_states=True).hidden_states
        assert levels is not None
        chosen = [level.float() for level in levels[-self.config.average_layers :]]
        mask = audio.padding_mask
        local = torch.stack([self.normalise(level, mask) for level in chosen]).mean(0)
        whole = torch.stack([mean_pool(level, mask) for level in chosen]).mean(0)
        return LatentTargets(local, standardise(whole))

    def normalise(self, tokens: Tensor, padding_mask: Tensor) -> Tensor:
        """(batch, num_patches, dim) float32 of one layer, as ``target_norm`` says."""
        if self.config.target_norm == "none":
            return tokens
        if self.config.target_norm == "channels":
            return functional.layer_norm(tokens, tokens.shape[-1:])
        mean = mean_pool(tokens, padding_mask)[:, None]
        variance = mean_pool((tokens - mean).square(), padding_mask)[:, None]
        return (tokens - mean) * (variance + 1e-5).rsqrt()

    def target_vectors(self, targets: LatentTargets) -> Tensor:
        """The local ones."""
        return targets.local

    def compare(self, answers: Answers, targets: LatentTargets) -> StepOutput:
        """Mean squared error at predicted places, and of the cls token to the whole clip."""
        difference = answers.prediction.float() - answers.at_predicted(targets.local)
        local = mean_over_predicted(difference.square().mean(-1), answers.predicted)
        guess = self.utterance(answers.encoded.cls).float()
        whole = targets.utterance.repeat(self.masking.num_masks, 1)
        utterance = (guess - whole).square().mean()
        metrics = {"local_loss": local.detach(), "utterance_loss": utterance.detach()}
        return StepOutput(local + self.config.utterance_weight * utterance, metrics)

    @torch.no_grad()
    def after_step(self, step: int, max_steps: int) -> None:
        """Moves the teacher towards the student, ever more slowly."""
        decay = ema_decay(self.config, step, max_steps)
        torch._foreach_lerp_(
            list(self.teacher.parameters()), list(self.encoder.parameters()), 1.0 - decay
        )


def ema_decay(config: LatentConfig, step: int, max_steps: int) -> float:
    """Of the teacher after the ``step``-th of ``max_steps`` steps, 0 if it is to follow at once."""
    share = config.ema_start + (config.ema_end - config.ema_start) * step / max_steps
    return max(0.0, 1.0 - 1.0 / (share * max_steps))


def standardise(vectors: Tensor) -> Tensor:
    """(batch, dim) float32 to mean 0 and variance 1 over the clips of all processes."""
    everyone = gather_with_gradient(vectors)
    variance = everyone.var(0, correction=0)
    return (vectors - everyone.mean(0)) * (variance + 1e-5).rsqrt()
