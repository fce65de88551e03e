"""Heads: what their probabilities add up to."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.heads import HEADS, build_head
from finetune.labels import GENDERS
from ssl_audio.errors import DataError
from tests.finetune.building import marginals

EMOTIONS = ("angry", "happy", "sad", "calm", "fearful")
JOINT = tuple(f"{gender}_{emotion}" for gender in reversed(GENDERS) for emotion in EMOTIONS)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 30), num_emotions=st.integers(1, 8))
def test_marginals_of_the_joint_are_gender_and_emotion(
    seed: int, scale: float, num_emotions: int
) -> None:
    torch.manual_seed(seed)
    classes = [f"{gender}_{number}" for gender in GENDERS for number in range(num_emotions)]
    head = build_head(6, classes, {"kind": "gender-emotion"}).eval()
    embedding = scale * torch.randn(5, 6)
    joint = head.probabilities(head(embedding))
    outputs = head.linear(head.norm(embedding))
    genders, emotions = marginals(joint)
    assert torch.allclose(genders, outputs[:, :2].softmax(1), atol=1e-5)
    assert torch.allclose(emotions, outputs[:, 2:].softmax(1), atol=1e-5)
    assert torch.allclose(joint.sum(1), torch.ones(5), atol=1e-5)
    for gender in range(2):
        for emotion in range(num_emotions):
            product = genders[:, gender] * emotions[:, emotion]
            assert torch.allclose(joint[:, gender * num_emotions + emotion], product, atol=1e-5)


def test_factorised_loss_is_the_sum_of_its_parts() -> None:
    torch.manual_seed(0)
    head = build_head(6, JOINT, {"kind": "gender-emotion", "label_smoothing": 0.0}).eval()
    embedding = torch.randn(4, 6)
    labels = torch.tensor([0, 7, 3, 9])
    targets = torch.nn.functional.one_hot(labels, 10).float()
    loss = head.build_loss(torch.ones(10))(head(embedding), targets)
    outputs = head.linear(head.norm(embedding))
    gender = torch.nn.functional.cross_entropy(outputs[:, :2], labels // 5)
    emotion = torch.nn.functional.cross_entropy(outputs[:, 2:], labels % 5)
    assert loss.item() == pytest.approx((gender + emotion).item(), abs=1e-5)


@pytest.mark.parametrize(
    "classes",
    [
        ("male_a", "female_a", "male_b", "female_b"),
        ("child_a", "child_b", "male_a", "male_b"),
        ("female_a", "female_b", "male_b", "male_a"),
        ("a", "b"),
        ("female_a", "male_a", "male_b"),
    ],
)
def test_factorised_head_wants_every_pair_gender_major(classes: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="every emotion of one gender"):
        build_head(6, classes, {"kind": "gender-emotion"})


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_every_head_learns_what_it_is_for(kind: str) -> None:
    """Twenty clips are learnt by heart; a head with wrong signs or columns would not."""
    torch.manual_seed(0)
    head = build_head(32, JOINT, {"kind": kind, "dropout": 0.0, "label_smoothing": 0.0})
    embedding = torch.randn(20, 32)
    if kind == "multilabel":
        targets = (torch.rand(20, 10) > 0.6).float()
    else:
        targets = torch.nn.functional.one_hot(torch.arange(20) % 10, 10).float()
    loss = head.build_loss(targets.sum(0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(head(embedding), targets).backward()
        optimizer.step()
    found = head.eval().probabilities(head(embedding))
    wanted = targets if kind == "multilabel" else targets.argmax(1)
    decided = (found > 0.5).float() if kind == "multilabel" else found.argmax(1)
    assert torch.equal(decided, wanted)
    assert torch.allclose(found.sum(1), torch.ones(20), atol=1e-5) == head.exclusive
