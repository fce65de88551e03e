"""Heads: from a pooled embedding to logits, and the loss that trains them."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ssl_audio.config import Config


class SingleLabelConfig(Config):
    """Settings of the softmax head.

    Attributes:
        kind: names the head.
        dropout: on the pooled embedding.
        label_smoothing: share of the target spread over all classes.
    """

    kind: Literal["single"] = "single"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)


class SingleLabelHead(nn.Module):
    """Batch norm without weights, dropout, one linear layer; exactly one class is right.

    The batch norm standardises the embedding, so that one learning rate fits any encoder.
    """

    def __init__(self, input_dim: int, num_classes: int, config: SingleLabelConfig) -> None:
        super().__init__()
        self.label_smoothing = config.label_smoothing
        self.norm = nn.BatchNorm1d(input_dim, affine=False)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(input_dim, num_classes)

    def forward(self, embedding: Tensor) -> Tensor:
        """(batch, input_dim) -> logits (batch, num_classes)."""
        return self.linear(self.dropout(self.norm(embedding)))

    def compute_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of (batch, num_classes) logits and (batch,) int64 labels."""
        return functional.cross_entropy(
            logits.float(), labels, label_smoothing=self.label_smoothing
        )

    def probabilities(self, logits: Tensor) -> Tensor:
        """(batch, num_classes) float32, each row sums to one."""
        return logits.float().softmax(1)


HEADS = {"single": SingleLabelHead}
"""Heads by the ``kind`` of their configuration."""
