"""Contrastive learning: two views of a recording belong together, those of others do not.

Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning" (SimCLR), section 2, for
NT-Xent; Saeed et al. 2021, "Contrastive Learning of General-Purpose Audio Representations" (COLA),
section 2, for crops of one clip as positives and the bilinear form. We differ: parts of each view
are hidden from the encoder, mean and deviation over the tokens are projected, and a recording that
a batch holds twice is no negative of itself.
"""

from dataclasses import fields
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ssl_audio.augment import change_speed, cut_view, draw_place, shift_place
from ssl_audio.config import Variant
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.draws import view_keys
from ssl_audio.encoder import AudioEncoder, AudioEncoderOutput
from ssl_audio.gathering import first_gathered_row, gather_with_gradient
from ssl_audio.masking import MaskingConfig, draw_masks
from ssl_audio.objectives.base import Batch, Heard, Level, Objective, StepOutput, to_float
from ssl_audio.objectives.changes import ChangesConfig, change_sound
from ssl_audio.pooling import mean_std_pool


class ContrastConfig(ChangesConfig):
    """How two views of a clip are made, changed and compared.

    Attributes:
        positives: two crops of a clip, or one crop changed in two ways.
        shift_ms: most by which each view of one crop is moved from its place.
        view_seconds: length of a view, cut out of the crop that the stream gives.
        similarity: cosine over a temperature (NT-Xent) or bilinear (COLA).
        temperature: of NT-Xent.
        projection_dim: of the vectors that are compared.
        most_speed: by which views are played faster or slower, as a share; changes pitch.
    """

    positives: Literal["same_clip", "same_crop"] = "same_clip"
    shift_ms: float = Field(default=50.0, ge=0)
    view_seconds: float = Field(default=1.2, gt=0, le=30)
    similarity: Literal["cosine", "bilinear"] = "cosine"
    temperature: float = Field(default=0.1, gt=0)
    projection_dim: int = Field(default=128, gt=0)
    most_speed: float = Field(default=0.0, ge=0, lt=1)


class ContrastiveConfig(ContrastConfig, Variant):
    """Settings of the contrastive objective.

    Attributes:
        kind: names the objective.
        mask_ratio: share of each view's patches hidden from the encoder.
    """

    kind: Literal["contrastive"] = "contrastive"
    mask_ratio: float = Field(default=0.4, ge=0, lt=1)


def contrast(similarities: Tensor, positives: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy of each anchor's positive among all candidates: scalar.

    Args:
        similarities: (anchors, candidates) float32.
        positives: (anchors,) int64, which candidate belongs to each.
        same: (anchors, candidates) bool, True = the same recording, which is no negative.
    """
    is_positive = functional.one_hot(positives, similarities.shape[1]).bool()
    return functional.cross_entropy(
        similarities.masked_fill(same & ~is_positive, -torch.inf), positives
    )


class NtXent(nn.Module):
    """Normalised, temperature-scaled cross-entropy over both views of every process.

    The mean over processes of what each returns is the loss of one process with all clips.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, view_a: Tensor, view_b: Tensor, clip_indices: Tensor) -> Tensor:
        """Scalar.

        Args:
            view_a: (batch, dim) projections of one view of each clip.
            view_b: of the other one.
            clip_indices: (batch,) int64, equal for equal recordings.
        """
        view_a, view_b = (functional.normalize(view.float(), dim=1) for view in (view_a, view_b))
        candidates = torch.cat([gather_with_gradient(view_a), gather_with_gradient(view_b)])
        num_clips = len(candidates) // 2
        everyone = gather_with_gradient(clip_indices).repeat(2)
        own = first_gathered_row(len(view_a)) + torch.arange(len(view_a), device=view_a.device)
        same = clip_indices[:, None] == everyone
        losses = [
            contrast(anchors @ candidates.T / self.temperature, partners, same)
            for anchors, partners in ((view_a, own + num_clips), (view_b, own))
        ]
        return torch.stack(losses).mean()


class Bilinear(nn.Module):
    """COLA's form: the other view is found by a learned product, one way only."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.weight = nn.Parameter(torch.eye(dim))

    def forward(self, view_a: Tensor, view_b: Tensor, clip_indices: Tensor) -> Tensor:
        """See ``NtXent``."""
        view_a, view_b = (self.norm(view.float()).tanh() for view in (view_a, view_b))
        similarities = view_a @ self.weight @ gather_with_gradient(view_b).T
        own = first_gathered_row(len(view_a)) + torch.arange(len(view_a), device=view_a.device)
        same = clip_indices[:, None] == gather_with_gradient(clip_indices)
        return contrast(similarities, own, same)


class Contrast(nn.Module):
    """Projects pooled tokens of two views and contrasts them."""

    def __init__(self, dim: int, config: ContrastConfig) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, config.projection_dim)
        )
        self.loss = (
            NtXent(config.temperature)
            if config.similarity == "cosine"
            else Bilinear(config.projection_dim)
        )

    def forward(self, tokens: Tensor, padding_mask: Tensor, clip_indices: Tensor) -> StepOutput:
        """Contrastive loss of a batch.

        Args:
            tokens: (2 * batch, num_tokens, dim) of one view of every clip, then of the other.
            padding_mask: (2 * batch, num_tokens) bool, True = ignore.
            clip_indices: (batch,) int64, equal for equal recordings.
        """
        view_a, view_b = self.project(tokens, padding_mask).chunk(2)
        # bfloat16 has three digits, and a low temperature multiplies what they leave out.
        with torch.autocast(tokens.device.type, enabled=False):
            loss = self.loss(view_a.float(), view_b.float(), clip_indices)
        with torch.no_grad():
            a, b = (functional.normalize(view.float(), dim=1) for view in (view_a, view_b))
            metrics = {
                "positive_cosine": (a * b).sum(1).mean(),
                # Of unit vectors that point everywhere alike: 1 / sqrt(dim); 0 is a collapse.
                "projection_std": a.std(dim=0).mean(),
            }
        return StepOutput(loss, metrics)

    def project(self, tokens: Tensor, padding_mask: Tensor) -> Tensor:
        """(rows, num_tokens, dim) -> (rows, projection_dim)."""
        projected: Tensor = self.projection(mean_std_pool(tokens.float(), padding_mask))
        return projected

    def inspect(self, tokens: Tensor, padding_mask: Tensor) -> dict[str, Level]:
        """Projections of views, as unit vectors."""
        projection = functional.normalize(self.project(tokens, padding_mask).float(), dim=1)
        everywhere = torch.ones(len(tokens), 1, dtype=torch.bool, device=tokens.device)
        return {"projection": Level(projection[:, None], everywhere)}


def hear_two_views(batch: Batch, config: ContrastConfig) -> Heard:
    """Two views of every clip: 2 * batch rows, the first view of all clips, then the second."""
    views = [_hear_view(batch, config, view) for view in (0, 1)]
    names = [field.name for field in fields(Heard)]
    return Heard(*(torch.cat([getattr(view, name) for view in views]) for name in names))


def _hear_view(batch: Batch, config: ContrastConfig, view: int) -> Heard:
    keys, num_samples = batch["keys"], batch["num_samples"]
    length = round(config.view_seconds * SAMPLE_RATE)
    if config.positives == "same_clip":
        start = draw_place(num_samples, keys, length, view)
    else:
        most = round(config.shift_ms / 1000 * SAMPLE_RATE)
        one_place = draw_place(num_samples, keys, length, 0)
        start = shift_place(one_place, num_samples, keys, length, most, view)
    clean, num_samples = cut_view(to_float(batch["waveform"]), num_samples, start, length)
    if config.most_speed:
        # What is told of hidden places is told of the speed that is heard.
        clean, num_samples = change_speed(clean, num_samples, keys, config.most_speed, view)
    changed = change_sound(clean, num_samples, batch, config, view)
    return Heard(clean, changed, num_samples, view_keys(keys, view))


class ContrastiveObjective(Objective):
    """Cut, change, hide, encode, pool, project, contrast."""

    def __init__(self, encoder: AudioEncoder, config: ContrastiveConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.masking = MaskingConfig(mask_ratio=config.mask_ratio)
        self.contrast = Contrast(encoder.config.hidden_size, config)

    @property
    def needs_background(self) -> bool:
        """If other clips are mixed in."""
        return self.config.least_background_db is not None

    def forward(self, batch: Batch) -> StepOutput:
        """Contrastive loss of one batch."""
        output = self.encode_views(batch)
        result: StepOutput = self.contrast(
            output.last_hidden_state, output.padding_mask, batch["clip_indices"]
        )
        return result

    def encode_views(self, batch: Batch) -> AudioEncoderOutput:
        """Visible tokens of two views of every clip."""
        heard = hear_two_views(batch, self.config)
        audio = self.encoder.patch_audio(heard.changed, heard.num_samples)
        masked = draw_masks(heard.keys, self.masking, audio.grid, audio.padding_mask)
        return self.encoder.encode(audio, masked)

    def inspect_learning(self, batch: Batch) -> dict[str, Level]:
        """Projections of both views."""
        output = self.encode_views(batch)
        return self.contrast.inspect(output.last_hidden_state, output.padding_mask)
