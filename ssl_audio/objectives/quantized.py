"""Quantized targets: which of a few hundred sounds is at each hidden place; no teacher.

Source: Hsu et al. 2021 (HuBERT), section II, for k-means clusters of MFCC with their slopes as
targets of a masked prediction; Chiu et al. 2022 (BEST-RQ), section 3, for a random projection with
a random codebook. We differ: the encoder sees the visible patches only, and there is one target per
patch.
"""

from typing import Literal

import torch
from pydantic import Field
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from torch.nn import functional

from ssl_audio.acoustics import compute_deltas, compute_mfcc, hold_last_frame
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import choose_evenly, whole_clips
from ssl_audio.encoder import AudioEncoder, PatchedAudio
from ssl_audio.errors import UserError
from ssl_audio.objectives.base import Heard, Ints, StepOutput, to_float
from ssl_audio.objectives.prediction import (
    Answers,
    MaskedPrediction,
    PredictionConfig,
    mean_over_predicted,
)
from ssl_audio.patches import mean_per_patch

_NUM_MFCC = 13


class QuantizedConfig(PredictionConfig):
    """Settings of the quantized objective.

    Attributes:
        kind: names the objective.
        targets: k-means clusters of MFCC and their slopes, or a random projection of patches.
        num_clusters: how many sounds.
        projection_dim: values that are compared with the random codebook.
    """

    kind: Literal["quantized"] = "quantized"
    targets: Literal["mfcc", "random_projection"] = "mfcc"
    num_clusters: int = Field(default=256, gt=1)
    projection_dim: int = Field(default=16, gt=0)


class MfccClusters(nn.Module):
    """The nearest k-means centre of each patch's MFCC, their slopes and the slopes' slopes."""

    def __init__(self, num_clusters: int) -> None:
        super().__init__()
        size = 3 * _NUM_MFCC
        self.mean: Tensor
        self.deviation: Tensor
        self.centres: Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.register_buffer("centres", torch.zeros(num_clusters, size))

    def measure(self, encoder: AudioEncoder, heard: Heard, audio: PatchedAudio) -> Tensor:
        """(batch, num_patches, 39) float32."""
        log_mel = encoder.log_mel(heard.clean, heard.num_samples)
        num_frames = encoder.log_mel.num_frames(heard.num_samples)
        mfcc = hold_last_frame(compute_mfcc(log_mel, _NUM_MFCC), num_frames)
        slopes = compute_deltas(mfcc)
        frames = torch.cat([mfcc, slopes, compute_deltas(slopes)], dim=1)
        return mean_per_patch(frames, audio.grid, encoder.config.patch_shape[1])

    def fit(self, measured: Tensor, seed: int) -> None:
        """Finds the centres of (num_patches, 39) float32 patches.

        Raises:
            UserError: there are fewer patches than centres.
        """
        if len(measured) < len(self.centres):
            raise UserError(
                f"the pool has {len(measured)} patches of sound, too few for {len(self.centres)} "
                "clusters: give it more audio, or set num_clusters of the quantized targets"
            )
        self.mean.copy_(measured.mean(0))
        self.deviation.copy_(measured.std(0).clamp(1e-5))
        means = MiniBatchKMeans(
            len(self.centres), batch_size=4096, n_init=3, random_state=seed, max_iter=50
        )
        means.fit(((measured - self.mean) / self.deviation).numpy())
        self.centres.copy_(torch.from_numpy(means.cluster_centers_))

    def forward(self, encoder: AudioEncoder, heard: Heard, audio: PatchedAudio) -> Tensor:
        """(batch, num_patches) int64."""
        measured = (self.measure(encoder, heard, audio) - self.mean) / self.deviation
        return torch.cdist(measured, self.centres).argmin(-1)


class RandomCodebook(nn.Module):
    """The nearest random direction of each patch's random projection; nothing is learnt."""

    def __init__(self, patch_dim: int, projection_dim: int, num_clusters: int) -> None:
        super().__init__()
        self.projection: Tensor
        self.codes: Tensor
        projection = nn.init.xavier_uniform_(torch.empty(patch_dim, projection_dim))
        self.register_buffer("projection", projection)
        self.register_buffer(
            "codes", functional.normalize(torch.randn(num_clusters, projection_dim), dim=1)
        )

    def forward(self, encoder: AudioEncoder, heard: Heard, audio: PatchedAudio) -> Tensor:
        """(batch, num_patches) int64."""
        projected = encoder.patch_audio(heard.clean, heard.num_samples).patches @ self.projection
        return (functional.normalize(projected, dim=-1) @ self.codes.mT).argmax(-1)


class QuantizedObjective(MaskedPrediction[Tensor]):
    """Encode the visible patches, decode hidden ones, name their sounds."""

    def __init__(self, encoder: AudioEncoder, config: QuantizedConfig) -> None:
        super().__init__(encoder, config, config.num_clusters)
        self.num_clusters = config.num_clusters
        size = encoder.config.patch_shape
        self.quantizer: MfccClusters | RandomCodebook = (
            MfccClusters(config.num_clusters)
            if config.targets == "mfcc"
            else RandomCodebook(size[0] * size[1], config.projection_dim, config.num_clusters)
        )

    @torch.no_grad()
    def fit(self, corpus: PreparedCorpus, indices: Ints, seed: int) -> None:
        """Clusters an evenly chosen hour of the pool."""
        if not isinstance(self.quantizer, MfccClusters):
            return
        measured = []
        for _, waveform, num_samples in whole_clips(corpus, choose_evenly(corpus, indices), 32):
            sound = to_float(waveform)
            audio = self.encoder.patch_audio(sound, num_samples)
            heard = Heard(sound, sound, num_samples, num_samples)
            patches = self.quantizer.measure(self.encoder, heard, audio)
            measured.append(patches[~audio.padding_mask])
        self.quantizer.fit(torch.cat(measured), seed)

    @torch.no_grad()
    def make_targets(self, heard: Heard, audio: PatchedAudio) -> Tensor:
        """(batch, num_patches) int64 sounds of the clean audio."""
        with torch.autocast(heard.clean.device.type, enabled=False):
            codes: Tensor = self.quantizer(self.encoder, heard, audio)
        return codes

    def target_vectors(self, targets: Tensor) -> Tensor:
        """One value for each sound, 1 where it is."""
        return functional.one_hot(targets, self.num_clusters)

    def compare(self, answers: Answers, targets: Tensor) -> StepOutput:
        """Cross-entropy at predicted places."""
        targets, predicted = answers.at_predicted(targets), answers.predicted
        error = functional.cross_entropy(
            answers.prediction.float().flatten(0, 1), targets.flatten(), reduction="none"
        ).view_as(targets)
        right = answers.prediction.detach().argmax(-1) == targets
        # What only fills up a row counts as one more sound, left out.
        asked = targets.where(predicted, self.num_clusters).flatten()
        # Not bincount, which waits for a GPU to learn the largest.
        counts = torch.zeros(self.num_clusters + 1, device=asked.device)
        used = counts.scatter_add(0, asked, torch.ones_like(asked, dtype=torch.float32))[:-1]
        share = used / used.sum().clamp(1)
        metrics = {
            "hidden_accuracy": mean_over_predicted(right, predicted),
            # Of one sound at all these places: 1; of all equally often: num_clusters.
            "target_perplexity": (-(share * (share + 1e-12).log()).sum()).exp(),
        }
        return StepOutput(mean_over_predicted(error, predicted), metrics)
