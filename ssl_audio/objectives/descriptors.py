"""Low-level descriptors at hidden places: pitch, energy, timbre and their slopes; no teacher.

Source: Pascual et al. 2019 (PASE), section 2, for regressing what signal processing measures
(prosody, MFCC) as self-supervision. We differ: it is asked at hidden places only, pitch counts
where there is one, and every descriptor is standardised over the pool.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ssl_audio.acoustics import compute_deltas, compute_f0, compute_mfcc, hold_last_frame
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import choose_evenly, whole_clips
from ssl_audio.encoder import AudioEncoder, PatchedAudio
from ssl_audio.objectives.base import Heard, Ints, StepOutput, to_float
from ssl_audio.objectives.prediction import (
    Answers,
    MaskedPrediction,
    PredictionConfig,
    mean_over_predicted,
)
from ssl_audio.patches import mean_per_patch

_NUM_MFCC = 13
_VOICED = 0.5
_GROUPS = {"pitch": 1, "periodicity": 1, "energy": 2, "mfcc": _NUM_MFCC - 1, "slopes": 12}
"""Descriptors of a patch by group, which all weigh the same in the loss."""


class DescriptorsConfig(PredictionConfig):
    """Settings of the descriptors objective.

    Attributes:
        kind: names the objective.
    """

    kind: Literal["descriptors"] = "descriptors"


@dataclass(frozen=True)
class Descriptors:
    """Of every patch.

    Attributes:
        values: (batch, num_patches, 28) float32: log f0, periodicity, level and its slope, 12 MFCC
            and their slopes.
        voiced: (batch, num_patches) bool, where f0 means something.
    """

    values: Tensor
    voiced: Tensor


def compute_descriptors(encoder: AudioEncoder, heard: Heard, audio: PatchedAudio) -> Descriptors:
    """Measures the clean audio, in natural units."""
    log_mel = encoder.log_mel(heard.clean, heard.num_samples)
    num_frames = encoder.log_mel.num_frames(heard.num_samples)
    mfcc = hold_last_frame(compute_mfcc(log_mel, _NUM_MFCC), num_frames)
    frames = torch.cat([mfcc, compute_deltas(mfcc)], dim=1)
    per_patch = mean_per_patch(frames, audio.grid, encoder.config.patch_shape[1])
    level, timbre, level_slope, timbre_slopes = per_patch.split([1, 12, 1, 12], dim=-1)
    sounding = torch.arange(heard.clean.shape[1], device=log_mel.device)
    waveform = heard.clean.masked_fill(sounding >= heard.num_samples[:, None], 0.0)
    f0, periodicity = compute_f0(waveform, encoder.config.sample_rate, encoder.patch_samples)
    pitch = torch.stack([f0.log(), periodicity], dim=1)
    pitch = mean_per_patch(pitch, audio.grid, 1)
    values = torch.cat([pitch, level, level_slope, timbre, timbre_slopes], dim=-1)
    return Descriptors(values, pitch[..., 1] > _VOICED)


class DescriptorsObjective(MaskedPrediction[Descriptors]):
    """Encode the visible patches, decode hidden ones, tell what hidden places sound like."""

    def __init__(self, encoder: AudioEncoder, config: DescriptorsConfig) -> None:
        size = sum(_GROUPS.values())
        super().__init__(encoder, config, size)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    @torch.no_grad()
    def fit(self, corpus: PreparedCorpus, indices: Ints, seed: int) -> None:
        """Standardises over an evenly chosen hour of the pool; f0 over its voiced patches."""
        values, voiced = [], []
        for _, waveform, num_samples in whole_clips(corpus, choose_evenly(corpus, indices), 32):
            sound = to_float(waveform)
            audio = self.encoder.patch_audio(sound, num_samples)
            heard = Heard(sound, sound, num_samples, num_samples)
            found = compute_descriptors(self.encoder, heard, audio)
            values.append(found.values[~audio.padding_mask])
            voiced.append(found.voiced[~audio.padding_mask])
        everything, with_pitch = torch.cat(values), torch.cat(voiced)
        self.mean.copy_(everything.mean(0))
        self.deviation.copy_(everything.std(0).clamp(1e-5))
        if with_pitch.sum() > 1:
            pitch = everything[with_pitch, 0]
            self.mean[0], self.deviation[0] = pitch.mean(), pitch.std().clamp(1e-5)

    @torch.no_grad()
    def make_targets(self, heard: Heard, audio: PatchedAudio) -> Descriptors:
        """Standardised descriptors of the clean audio."""
        with torch.autocast(heard.clean.device.type, enabled=False):
            found = compute_descriptors(self.encoder, heard, audio)
        return Descriptors((found.values - self.mean) / self.deviation, found.voiced)

    def target_vectors(self, targets: Descriptors) -> Tensor:
        """Their values, pitch also where there is none."""
        return targets.values

    def compare(self, answers: Answers, targets: Descriptors) -> StepOutput:
        """Mean over the groups of each one's mean squared error at predicted places."""
        square = (answers.prediction.float() - answers.at_predicted(targets.values)).square()
        errors = dict(zip(_GROUPS, square.split(list(_GROUPS.values()), dim=-1), strict=True))
        losses = {
            name: mean_over_predicted(
                error.mean(-1),
                answers.predicted & answers.at_predicted(targets.voiced)
                if name == "pitch"
                else answers.predicted,
            )
            for name, error in errors.items()
        }
        metrics = {f"{name}_error": loss.detach() for name, loss in losses.items()}
        return StepOutput(torch.stack(list(losses.values())).mean(), metrics)
