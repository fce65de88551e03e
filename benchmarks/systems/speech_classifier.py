"""A speech encoder with a head on it: what it learns from, its training step, its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.systems.base import Floats, Int16
from benchmarks.systems.speech_backbones import Listener, SpeechBackbone
from finetune.config import FullConfig, LoraConfig
from finetune.heads import SingleLabelConfig, build_head
from finetune.sampling import LabelledStream
from finetune.strategies import WeightAverage
from ssl_audio.objectives.base import StepOutput
from ssl_audio.optim import layer_decay_groups

INPUTS = ("values", "num_samples", "clip")
"""What a backbone takes of a batch."""


@dataclass(frozen=True)
class HeardStream(LabelledStream):
    """Labelled crops as an encoder takes them.

    Attributes:
        listener: makes them.
    """

    listener: Listener

    def __getitems__(self, draws: Sequence[int]) -> dict[str, Tensor]:
        """The listener's answer with ``targets`` (batch, classes) float32."""
        batch = super().__getitems__(draws)
        lengths = batch["num_samples"].tolist()
        crops = [row[:n] for row, n in zip(batch["waveform"].numpy(), lengths, strict=True)]
        return {**self.listener(crops), "targets": batch["targets"]}


class SpeechClassifier(nn.Module):
    """Mean over time of an encoder's last layer, and a linear head.

    Args:
        backbone: the encoder.
        classes: of the answer.
        head: settings of the head.
    """

    def __init__(
        self, backbone: SpeechBackbone, classes: Sequence[str], head: SingleLabelConfig
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = build_head(backbone.dim, classes, head.model_dump())

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """(clips, classes) logits of a batch from ``Listener``."""
        logits: Tensor = self.head(self.embed(batch))
        return logits

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """(clips, dim) float32."""
        embedding: Tensor = self.backbone(*(batch[name] for name in INPUTS))
        return embedding

    @torch.no_grad()
    def embed_each(self, waveforms: Sequence[Int16]) -> npt.NDArray[np.float32]:
        """(clips, dim) of whole clips, each by itself, in eval mode."""
        was_training = self.training
        self.eval()
        found = [self.embed(self._listen(waveform)).cpu().numpy() for waveform in waveforms]
        self.train(was_training)
        return np.concatenate(found)

    @torch.no_grad()
    def judge(self, waveforms: Sequence[Int16]) -> Floats:
        """(clips, classes) float64 probabilities of whole clips, in float32.

        Each clip by itself, so that none depends on another to the last bit.
        """
        logits = torch.cat([self(self._listen(waveform)) for waveform in waveforms])
        answer: Floats = logits.double().softmax(1).cpu().numpy()
        return answer

    def _listen(self, waveform: Int16) -> dict[str, Tensor]:
        device = self.head.linear.weight.device
        return {name: part.to(device) for name, part in self.backbone.listener([waveform]).items()}


class SpeechTuning(nn.Module):
    """What the training loop sees: a batch of ``HeardStream`` in, a loss out.

    Args:
        classifier: that learns.
        strategy: which weights learn.
        class_counts: (classes,) float32 training clips of each.
    """

    def __init__(
        self, classifier: SpeechClassifier, strategy: FullConfig | LoraConfig, class_counts: Tensor
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.strategy = strategy
        self.loss = classifier.head.build_loss(class_counts)
        self.average: WeightAverage[SpeechClassifier] | None = None
        if isinstance(strategy, FullConfig) and strategy.average_share:
            self.average = WeightAverage(classifier, strategy.average_share)

    @property
    def judged(self) -> SpeechClassifier:
        """What is validated and kept: the classifier, or the average of its weights."""
        return self.average.average if self.average else self.classifier

    def train(self, mode: bool = True) -> "SpeechTuning":
        """As ever, but a head that was fitted first keeps its standardisation."""
        super().train(mode)
        if self.strategy.fits_head:
            self.classifier.head.norm.eval()
        if self.average:
            self.average.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> StepOutput:
        """Loss and accuracy of one batch."""
        logits, targets = self.classifier(batch), batch["targets"]
        accuracy = (logits.argmax(1) == targets.argmax(1)).float().mean()
        return StepOutput(self.loss(logits, targets), {"training_accuracy": accuracy.detach()})

    def after_step(self, step: int, max_steps: int) -> None:
        """Lets the average follow."""
        if self.average:
            self.average.follow(self.classifier, step, max_steps)


def group_parameters(
    classifier: SpeechClassifier, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups for the optimizer: the rate falls from the head down, see ``optim``.

    Args:
        classifier: of which the weights with gradients learn.
        weight_decay: for matrices.
        layer_decay: factor on the learning rate per layer of the transformer.
    """
    backbone = classifier.backbone
    layers = [list(layer.parameters()) for layer in backbone.layers]
    head = [weight for part in (*backbone.above, classifier.head) for weight in part.parameters()]
    placed = {id(weight) for level in (*layers, head) for weight in level}
    below = [weight for weight in backbone.parameters() if id(weight) not in placed]
    return layer_decay_groups([below, *layers], head, weight_decay, layer_decay)
