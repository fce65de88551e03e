"""Masked prediction: what all objectives share that tell hidden places from visible ones.

The encoder sees the visible patches only, a light decoder answers at hidden places, and these
answers are compared with targets made of the whole clip. An objective says what the targets are
and how to compare.

Source: He et al. 2022 (MAE), section 3, for hiding before encoding; Baevski et al. 2022 (data2vec
2.0), section 3.3, for several masks of a clip that share one set of targets; Chen et al. 2022
(WavLM), section IV-B, for targets of the sound without what was mixed into it.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ssl_audio.augment import silence_padding
from ssl_audio.config import Variant
from ssl_audio.encoder import AudioEncoder, AudioEncoderOutput, PatchedAudio
from ssl_audio.masking import Masked, MaskingConfig, draw_masks
from ssl_audio.objectives.base import Batch, Heard, Level, Objective, StepOutput, hear
from ssl_audio.objectives.changes import ChangesConfig, change_sound
from ssl_audio.objectives.decoders import (
    AnyDecoderConfig,
    TransformerDecoderConfig,
    build_decoder,
)

TargetsType = TypeVar("TargetsType")


class PredictionConfig(MaskingConfig, Variant):
    """Masks, decoder, and what else tells what is heard from what is to be told.

    Attributes:
        decoder: that answers, and is thrown away afterwards.
        changes: of what the encoder hears; targets are of the sound as it is. None changes nothing.
    """

    decoder: AnyDecoderConfig = TransformerDecoderConfig()
    changes: ChangesConfig | None = None


@dataclass(frozen=True)
class Answers:
    """What the model says of num_masks * batch masked clips, masks one after the other.

    Attributes:
        prediction: (rows, num_predicted, target_dim) of the decoder.
        encoded: visible tokens and cls.
        masked: which patches were hidden, and which of them were predicted.
    """

    prediction: Tensor
    encoded: AudioEncoderOutput
    masked: Masked

    @property
    def predicted(self) -> Tensor:
        """(rows, num_predicted) bool, False where a row is only filled up."""
        return ~self.masked.predict_padding_mask

    def at_predicted(self, of_patches: Tensor) -> Tensor:
        """What the whole batch has at the predicted places.

        Args:
            of_patches: (batch, num_patches, ...) of every patch of every clip.

        Returns:
            (rows, num_predicted, ...).
        """
        ids = self.masked.ids_predict
        clips = torch.arange(len(ids), device=ids.device) % len(of_patches)
        return of_patches[clips[:, None], ids]

    def on_grid(self) -> tuple[Tensor, Tensor]:
        """Every prediction at its place.

        Returns:
            (rows, num_patches, target_dim), 0 where nothing was predicted, and (rows, num_patches)
            bool, True where it was.
        """
        masked = self.masked
        # What only fills up a row goes to a place beyond the last.
        places = masked.ids_predict.masked_fill(masked.predict_padding_mask, masked.mask.shape[1])
        rows, num_patches = masked.mask.shape
        asked = masked.mask.new_zeros(rows, num_patches + 1).scatter(1, places, True)
        filled = self.prediction.new_zeros(rows, num_patches + 1, self.prediction.shape[2])
        filled = filled.scatter(1, places[:, :, None].expand_as(self.prediction), self.prediction)
        return filled[:, :-1], asked[:, :-1]


def mean_over_predicted(error: Tensor, counted: Tensor) -> Tensor:
    """Mean over clips of each clip's mean over its predicted patches: scalar float32.

    Args:
        error: (rows, num_predicted).
        counted: (rows, num_predicted) bool; a clip of which nothing counts has an error of 0.
    """
    per_clip = (error * counted).sum(1) / counted.sum(1).clamp(1)
    return per_clip.mean()


class MaskedPrediction(Objective, Generic[TargetsType]):
    """Hide, encode, decode, compare; its children make the targets and compare them.

    Args:
        encoder: that learns.
        config: masks and decoder.
        target_dim: values that the decoder answers with at each place.
    """

    def __init__(self, encoder: AudioEncoder, config: PredictionConfig, target_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.masking, self.changes = config, config.changes
        self.decoder = build_decoder(encoder.config, config.decoder, target_dim)

    @abstractmethod
    def make_targets(self, heard: Heard, audio: PatchedAudio) -> TargetsType:
        """Of every patch of every clip.

        Args:
            heard: the batch.
            audio: its patches as the encoder gets them.
        """

    @abstractmethod
    def compare(self, answers: Answers, targets: TargetsType) -> StepOutput:
        """The loss of num_masks * batch answers against the batch's targets."""

    @abstractmethod
    def target_vectors(self, targets: TargetsType) -> Tensor:
        """(batch, num_patches, dim) of targets, for watching them."""

    @property
    def needs_background(self) -> bool:
        """If other clips are mixed in."""
        return self.changes is not None and self.changes.least_background_db is not None

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of one batch."""
        return self.learn(self.hear(batch))[0]

    def hear(self, batch: Batch) -> Heard:
        """A batch, changed if it is to be."""
        heard = hear(batch)
        if self.changes is None:
            return heard
        clean = silence_padding(heard.clean, heard.num_samples)
        changed = change_sound(clean, heard.num_samples, batch, self.changes, view=0)
        return replace(heard, changed=changed)

    def learn(self, heard: Heard) -> tuple[StepOutput, AudioEncoderOutput]:
        """The loss, and the visible tokens of num_masks * batch rows for a second loss on them."""
        audio = self.encoder.patch_audio(heard.changed, heard.num_samples)
        answers = self.answer(audio, heard.keys)
        output = self.compare(answers, self.make_targets(heard, audio))
        tokens = answers.encoded.last_hidden_state.detach().float()
        return (
            StepOutput(output.loss, {"token_std": tokens.std(dim=(0, 1)).mean(), **output.metrics}),
            answers.encoded,
        )

    def inspect_learning(self, batch: Batch) -> dict[str, Level]:
        """Targets of whole clips, and answers at hidden places.

        All clips are hidden at the same places and heard to the end of the longest, so that their
        answers differ by what is heard alone.
        """
        return self.inspect_heard(self.hear(batch))

    def inspect_heard(self, heard: Heard) -> dict[str, Level]:
        """The same of what is heard."""
        audio = self.encoder.patch_audio(heard.changed, heard.num_samples)
        beyond_all = audio.padding_mask.all(0, keepdim=True).expand_as(audio.padding_mask)
        alike = replace(audio, padding_mask=beyond_all)
        answers = self.answer_everywhere(alike, heard.keys[:1].expand_as(heard.keys))
        targets = self.target_vectors(self.make_targets(heard, audio))
        return {
            "target": Level(targets, ~audio.padding_mask),
            "prediction": Level(*answers.on_grid()),
        }

    def answer(self, audio: PatchedAudio, keys: Tensor) -> Answers:
        """Encodes and decodes under the objective's masks.

        Args:
            audio: a batch.
            keys: (batch,) int64, which the masks are drawn by.
        """
        return self._answer_under(self.masking, audio, keys)

    def answer_everywhere(self, audio: PatchedAudio, keys: Tensor) -> Answers:
        """The same under the first mask alone, at every place that it hides: for looking at."""
        one = {"num_masks": 1, "prediction_ratio": 1.0}
        return self._answer_under(self.masking.model_copy(update=one), audio, keys)

    def _answer_under(self, masking: MaskingConfig, audio: PatchedAudio, keys: Tensor) -> Answers:
        masked = draw_masks(keys, masking, audio.grid, audio.padding_mask)
        audio = audio.repeat(masking.num_masks)
        encoded = self.encoder.encode(audio, masked)
        return Answers(self.decoder(encoded.last_hidden_state, masked, audio), encoded, masked)
