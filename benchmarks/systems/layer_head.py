"""A small head on the layers of a frozen encoder."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.systems.base import Floats
from ssl_audio.objectives.base import StepOutput


class LayerHead(nn.Module):
    """A learnt mixture of layers, one hidden layer, one score for each class.

    Args:
        features: (clips, layers, dim) float32 of the training clips, which set the scale.
        num_classes: of the answer.
        hidden_size: of the hidden layer.
        dropout: before the last layer.

    Source: Yang et al. 2021 (SUPERB) for the mixture; Ma et al. 2024 (EmoBox) for the head, which
    there has its hidden layer before the mean over time.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: npt.NDArray[np.float32],
        num_classes: int,
        hidden_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
        self.register_buffer("std", torch.from_numpy(features.std(axis=0) + 1e-6))
        self.layer_scores = nn.Parameter(torch.zeros(features.shape[1]))
        self.hidden = nn.Linear(features.shape[2], hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, num_classes)

    def forward(self, batch: dict[str, Tensor]) -> StepOutput:
        """Loss and accuracy of a batch."""
        logits = self.classify(batch["inputs"])
        accuracy = (logits.argmax(1) == batch["labels"]).float().mean()
        loss = functional.cross_entropy(logits.float(), batch["labels"])
        return StepOutput(loss, {"training_accuracy": accuracy.detach()})

    def classify(self, features: Tensor) -> Tensor:
        """(batch, layers, dim) float32 to (batch, classes) logits."""
        scaled = (features - self.mean) / self.std
        mixed = (scaled * self.layer_scores.softmax(0)[:, None]).sum(1)
        logits: Tensor = self.output(self.dropout(functional.relu(self.hidden(mixed))))
        return logits

    @torch.no_grad()
    def judge(self, features: npt.NDArray[np.float32]) -> Floats:
        """(clips, classes) float64 probabilities, each clip by itself."""
        inputs = torch.from_numpy(features).to(self.mean.device)
        logits = torch.cat([self.classify(one[None]) for one in inputs])
        answer: Floats = logits.double().softmax(1).cpu().numpy()
        return answer
