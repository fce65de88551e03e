"""Masked prediction and contrast from one pass of the encoder.

Source: Gong et al. 2022 (SSAST), section 3.2, and Gong et al. 2023 (CAV-MAE), section 2.4, for a
reconstruction and a contrastive loss over one encoder. We differ: both losses see the same visible
tokens of two views of every clip, and any masked prediction may be joined.
"""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from ssl_audio.config import Variant
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.encoder import AudioEncoder
from ssl_audio.objectives.base import (
    Batch,
    Ints,
    Level,
    Objective,
    Reconstruction,
    StepOutput,
)
from ssl_audio.objectives.contrastive import Contrast, ContrastConfig, hear_two_views
from ssl_audio.objectives.forms import PREDICTIONS, AnyPredictionConfig
from ssl_audio.objectives.prediction import MaskedPrediction
from ssl_audio.objectives.quantized import QuantizedConfig


class JointConfig(Variant):
    """Settings of the joint objective.

    Attributes:
        kind: names the objective.
        prediction: what is told of hidden places.
        contrast: how views are made and compared.
        contrastive_weight: of the contrastive loss beside the prediction's.
    """

    kind: Literal["joint"] = "joint"
    prediction: AnyPredictionConfig = QuantizedConfig()
    contrast: ContrastConfig = ContrastConfig(view_seconds=1.6)
    contrastive_weight: float = Field(default=0.5, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.prediction.changes is not None:
            raise ValueError("prediction.changes of joint are its contrast's: set them there")
        return self


class JointObjective(Objective):
    """Cut two views, predict what is hidden of both, contrast what is visible of them."""

    def __init__(self, encoder: AudioEncoder, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        self.prediction: MaskedPrediction = PREDICTIONS[config.prediction.kind](
            encoder, config.prediction
        )
        self.contrast = Contrast(encoder.config.hidden_size, config.contrast)

    @property
    def encoder(self) -> AudioEncoder:  # type: ignore[override]
        """The prediction's, which holds its weights once."""
        return self.prediction.encoder

    @property
    def needs_background(self) -> bool:
        """If other clips are mixed into views."""
        return self.config.contrast.least_background_db is not None

    def fit(self, corpus: PreparedCorpus, indices: Ints, seed: int) -> None:
        """The prediction's."""
        self.prediction.fit(corpus, indices, seed)

    def after_step(self, step: int, max_steps: int) -> None:
        """The prediction's."""
        self.prediction.after_step(step, max_steps)

    def forward(self, batch: Batch) -> StepOutput:
        """Weighted sum of both losses."""
        heard = hear_two_views(batch, self.config.contrast)
        predicted, encoded = self.prediction.learn(heard)
        views = zip(
            encoded.last_hidden_state.chunk(self.prediction.masking.num_masks),
            encoded.padding_mask.chunk(self.prediction.masking.num_masks),
            strict=True,
        )
        contrasts = [self.contrast(*view, batch["clip_indices"]) for view in views]
        contrastive = torch.stack([one.loss for one in contrasts]).mean()
        metrics = {
            **predicted.metrics,
            **contrasts[0].metrics,
            "prediction_loss": predicted.loss.detach(),
            "contrastive_loss": contrastive.detach(),
        }
        return StepOutput(predicted.loss + self.config.contrastive_weight * contrastive, metrics)

    def reconstruct(self, batch: Batch) -> Reconstruction | None:
        """The prediction's, of whole clips."""
        return self.prediction.reconstruct(batch)

    def inspect_learning(self, batch: Batch) -> dict[str, Level]:
        """Targets and answers, and projections of views of which nothing is hidden."""
        heard = hear_two_views(batch, self.config.contrast)
        output = self.encoder.encode(self.encoder.patch_audio(heard.changed, heard.num_samples))
        return {
            **self.prediction.inspect_heard(heard),
            **self.contrast.inspect(output.last_hidden_state, output.padding_mask),
        }
