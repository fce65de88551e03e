"""Losses against slow references."""

import math

import pytest
import torch
from torch.nn import functional

from finetune.losses import BinaryCrossEntropy, CrossEntropy, weigh_classes

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.3, -2.0], [-1.0, 4.0, 1.0], [0.1, 0.2, 0.3]])
HARD = functional.one_hot(torch.tensor([0, 1, 2, 1]), 3).float()
SOFT = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0]])


@pytest.mark.parametrize("targets", [HARD, SOFT])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_library_s(targets: torch.Tensor, smoothing: float) -> None:
    found = CrossEntropy(label_smoothing=smoothing)(LOGITS, targets)
    wanted = functional.cross_entropy(LOGITS, targets, label_smoothing=smoothing)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-6)


def test_weighted_cross_entropy_weighs_the_clips_of_a_class() -> None:
    weights = torch.tensor([0.5, 2.0, 1.0])
    found = CrossEntropy(weights)(LOGITS, HARD)
    each = functional.cross_entropy(LOGITS, HARD.argmax(1), reduction="none")
    wanted = (each * weights[HARD.argmax(1)]).mean()
    assert found.item() == pytest.approx(wanted.item(), abs=1e-6)


def test_focal_loss_is_the_paper_s() -> None:
    found = CrossEntropy(focusing=2.0)(LOGITS, HARD).item()
    slow = 0.0
    for row, label in zip(LOGITS.tolist(), HARD.argmax(1).tolist(), strict=True):
        right = math.exp(row[label]) / sum(map(math.exp, row))
        slow -= (1 - right) ** 2 * math.log(right) / len(LOGITS)
    assert found == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("focusing", [0.0, 1.5])
def test_binary_cross_entropy_against_a_loop(focusing: float) -> None:
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.3, 1.0, 0.6], [1.0, 1.0, 1.0]])
    weights = torch.tensor([2.0, 1.0, 0.5])
    found = BinaryCrossEntropy(weights, 0.1, focusing)(LOGITS, targets).item()
    slow = 0.0
    for row, wanted in zip(LOGITS.tolist(), targets.tolist(), strict=True):
        for logit, target, weight in zip(row, wanted, weights.tolist(), strict=True):
            there = 1 / (1 + math.exp(-logit))
            target = 0.9 * target + 0.05
            slow -= weight * target * (1 - there) ** focusing * math.log(there)
            slow -= (1 - target) * there**focusing * math.log(1 - there)
    assert found == pytest.approx(slow / LOGITS.numel(), abs=1e-6)
    if not focusing:
        library = functional.binary_cross_entropy_with_logits(
            LOGITS, 0.9 * targets + 0.05, pos_weight=weights
        )
        assert found == pytest.approx(library.item(), abs=1e-6)


@pytest.mark.parametrize("loss", [CrossEntropy, BinaryCrossEntropy])
@pytest.mark.parametrize("focusing", [0.25, 1.0, 2.0])
def test_what_is_certain_gives_no_nan(loss: type[CrossEntropy], focusing: float) -> None:
    """A root has no slope at zero, which is where rounding puts the doubt of a sure answer."""
    logits = torch.tensor([[200.0, -200.0, -200.0]], requires_grad=True)
    value = loss(focusing=focusing)(logits, torch.tensor([[1.0, 0.0, 0.0]]))
    value.backward()
    assert value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_class_weights_make_classes_equal_and_the_mean_clip_one() -> None:
    counts = torch.tensor([100.0, 300.0, 0.0, 50.0])
    weights = weigh_classes("inverse", counts)
    assert weights is not None
    assert torch.allclose(weights * counts, torch.tensor([150.0, 150.0, 0.0, 150.0]))
    effective = weigh_classes("effective", counts)
    assert effective is not None
    assert (effective * counts).sum().item() == pytest.approx(450, rel=1e-5)
    numbers = [(1 - 0.999**n) / (1 - 0.999) for n in (100, 300)]
    assert (effective[0] / effective[1]).item() == pytest.approx(numbers[1] / numbers[0], rel=1e-4)
    assert weigh_classes("none", counts) is None
