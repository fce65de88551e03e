"""Losses of heads: targets are shares of classes, so mixed and voted clips need nothing else."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

BalanceName = Literal["none", "inverse", "effective"]
_EFFECTIVE = 0.999
"""Beta of Cui et al. 2019, the middle of the three that they tried."""


class ClassLoss(nn.Module):
    """What every loss of classes can be told.

    Args:
        class_weights: (classes,) float32; None weighs all alike.
        label_smoothing: share of the target taken from what it says.
        focusing: gamma of the focal loss.
    """

    class_weights: Tensor | None

    def __init__(
        self, class_weights: Tensor | None = None, label_smoothing: float = 0, focusing: float = 0
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.label_smoothing = label_smoothing
        self.focusing = focusing


class CrossEntropy(ClassLoss):
    """For exactly one class: cross-entropy, optionally weighted, smoothed and focal.

    Args:
        class_weights: (classes,) float32; None weighs all alike.
        label_smoothing: share of the target spread over all classes.
        focusing: gamma; 0 is cross-entropy, more turns away from clips that are easy by now.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 4.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over clips of (batch, classes) logits and targets whose rows sum to one."""
        log_probabilities = logits.float().log_softmax(1)
        spread = self.label_smoothing / logits.shape[1]
        wanted = targets * (1 - self.label_smoothing) + spread
        surprise = -wanted * log_probabilities
        if self.focusing:
            surprise = surprise * _focus(1 - log_probabilities.exp(), self.focusing)
        if self.class_weights is not None:
            surprise = surprise * self.class_weights
        return surprise.sum(1).mean()


class BinaryCrossEntropy(ClassLoss):
    """For any number of classes: cross-entropy of each for itself; see ``CrossEntropy``.

    Args:
        class_weights: (classes,) float32 on what speaks for a class; None weighs all alike.
        label_smoothing: targets are moved this share of the way to a half.
        focusing: gamma.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over clips and classes of (batch, classes) logits and targets in [0, 1]."""
        logits = logits.float()
        wanted = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        present = -wanted * functional.logsigmoid(logits)
        absent = -(1 - wanted) * functional.logsigmoid(-logits)
        if self.focusing:
            present = present * _focus(torch.sigmoid(-logits), self.focusing)
            absent = absent * _focus(torch.sigmoid(logits), self.focusing)
        if self.class_weights is not None:
            present = present * self.class_weights
        return (present + absent).mean()


def _focus(doubt: Tensor, focusing: float) -> Tensor:
    """The focal loss's factor; a root of zero would have no slope, so doubt is never zero."""
    return doubt.clamp(min=torch.finfo(doubt.dtype).eps) ** focusing


def weigh_classes(balance: BalanceName, counts: Tensor) -> Tensor | None:
    """(classes,) float32 weights so that rare classes count as much as others; the mean clip has 1.

    ``inverse`` is to the number of clips, ``effective`` to their effective number, which grows ever
    more slowly. A class without clips has the weight 0.

    Args:
        balance: ``none`` has no weights.
        counts: (classes,) float32 clips of each class, fractions where labels are shared.

    Source: Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", equation 4.
    """
    if balance == "none":
        return None
    counts = counts.double()
    numbers = counts if balance == "inverse" else (1 - _EFFECTIVE**counts) / (1 - _EFFECTIVE)
    weights = torch.where(counts > 0, 1 / numbers.clamp(1e-12), 0.0)
    return (weights * counts.sum() / (weights * counts).sum()).float()
