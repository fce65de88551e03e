"""Heads: from a pooled embedding to logits, what these mean, and the loss that trains them."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from einops import rearrange
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn
from torch.nn import functional

from finetune.labels import GENDERS, split_joint
from finetune.losses import BalanceName, BinaryCrossEntropy, CrossEntropy, weigh_classes
from ssl_audio.config import Variant, kind_or

Doubles = npt.NDArray[np.float64]


class HeadConfig(Variant):
    """Settings of any head.

    Attributes:
        dropout: on the pooled embedding.
        label_smoothing: share of the target spread over all classes.
        focusing: gamma of the focal loss; 0 is cross-entropy.
        class_balance: what weighs rare classes up in the loss, see ``losses.weigh_classes``.
    """

    dropout: float = Field(default=0.1, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    focusing: float = Field(default=0.0, ge=0)
    class_balance: BalanceName = "none"


class SingleLabelConfig(HeadConfig):
    """Settings of the softmax head; on joint classes it is the flat one."""

    kind: Literal["single"] = "single"


class MultiLabelConfig(HeadConfig):
    """Settings of the sigmoid head."""

    kind: Literal["multilabel"] = "multilabel"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class GenderEmotionConfig(HeadConfig):
    """Settings of the factorised head for gender x emotion."""

    kind: Literal["gender-emotion"] = "gender-emotion"


AnyHeadConfig = Annotated[
    Annotated[SingleLabelConfig, Tag("single")]
    | Annotated[MultiLabelConfig, Tag("multilabel")]
    | Annotated[GenderEmotionConfig, Tag("gender-emotion")],
    Discriminator(kind_or("single")),
]
"""Of any head; single unless ``kind`` says otherwise."""


class Head(nn.Module):
    """Batch norm without weights, dropout, one linear layer.

    The batch norm standardises the embedding, so that one learning rate fits any encoder.

    Args:
        input_dim: of the pooled embedding.
        classes: names.
        config: of this head.
    """

    config_type: ClassVar[type[HeadConfig]]
    """Settings of this head."""
    tasks: ClassVar[tuple[str, ...]]
    """Of the protocols that it can learn."""
    loss_type: ClassVar[type[CrossEntropy] | type[BinaryCrossEntropy]] = CrossEntropy
    exclusive: ClassVar[bool] = True
    """Exactly one class is right: probabilities sum to one."""

    def __init__(self, input_dim: int, classes: Sequence[str], config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.BatchNorm1d(input_dim, affine=False)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(input_dim, self.count_outputs(classes))

    @classmethod
    def count_outputs(cls, classes: Sequence[str]) -> int:
        """Of the linear layer."""
        return len(classes)

    def forward(self, embedding: Tensor) -> Tensor:
        """(batch, input_dim) -> logits (batch, num_classes)."""
        outputs: Tensor = self.linear(self.dropout(self.norm(embedding)))
        return outputs

    def build_loss(self, counts: Tensor) -> nn.Module:
        """The loss of logits and targets, both (batch, num_classes).

        Args:
            counts: (num_classes,) float32 training clips of each class.
        """
        weights = weigh_classes(self.config.class_balance, counts)
        return self.loss_type(weights, self.config.label_smoothing, self.config.focusing)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(batch, num_classes) float32 in [0, 1]."""
        return self.log_probabilities(logits).exp()

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """(batch, num_classes) float32."""
        return logits.float().log_softmax(-1)

    def ask(self, targets: Doubles) -> list[tuple[Doubles, int]]:
        """What each part of the linear layer's outputs tells of clips.

        Args:
            targets: (clips, classes) shares of classes.

        Returns:
            Of each part (clips, answers) shares of its answers, which sum to one, and how many
            outputs it has; a single output tells two answers apart.
        """
        return [(targets, targets.shape[1])]


class SingleLabelHead(Head):
    """Exactly one class is right: softmax."""

    config_type = SingleLabelConfig
    tasks = ("single", "gender-emotion")


class MultiLabelHead(Head):
    """Any number of classes is right: a sigmoid each."""

    config_type = MultiLabelConfig
    tasks = ("multilabel",)
    loss_type = BinaryCrossEntropy
    exclusive = False

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """(batch, num_classes) float32, each class for itself."""
        return functional.logsigmoid(logits.float())

    def ask(self, targets: Doubles) -> list[tuple[Doubles, int]]:
        """Of each class whether it is there."""
        return [(np.stack([1 - column, column], axis=1), 1) for column in targets.T]


class GenderEmotionHead(Head):
    """Gender and emotion told apart; the logits are of their pairs, gender-major.

    ``joint_logits`` are the sums of log-probabilities, so the probability of a pair is the product
    of its gender's and its emotion's, and summing over either gives the other back.
    """

    config_type = GenderEmotionConfig
    tasks = ("gender-emotion",)

    @classmethod
    def count_outputs(cls, classes: Sequence[str]) -> int:
        """Two genders and the emotions; refuses classes that are not all of their pairs."""
        return len(GENDERS) + len(split_joint(classes))

    def forward(self, embedding: Tensor) -> Tensor:
        """(batch, input_dim) -> joint logits (batch, 2 x emotions)."""
        outputs = super().forward(embedding).float()
        gender_logits, emotion_logits = outputs.tensor_split([len(GENDERS)], dim=-1)
        joint_logits = (
            gender_logits.log_softmax(-1)[..., :, None]
            + emotion_logits.log_softmax(-1)[..., None, :]
        )
        return joint_logits.flatten(-2)

    def ask(self, targets: Doubles) -> list[tuple[Doubles, int]]:
        """Which gender, and which emotion."""
        genders = len(GENDERS)
        pairs = rearrange(targets, "clip (gender emotion) -> clip gender emotion", gender=genders)
        return [(pairs.sum(2), genders), (pairs.sum(1), pairs.shape[2])]


HEADS: dict[str, type[Head]] = {
    "single": SingleLabelHead,
    "multilabel": MultiLabelHead,
    "gender-emotion": GenderEmotionHead,
}
"""Heads by the ``kind`` of their configuration."""


def build_head(input_dim: int, classes: Sequence[str], values: dict[str, Any]) -> Head:
    """A head from the values of its configuration, as a model's own file holds them."""
    head = HEADS[values.get("kind", "single")]
    return head(input_dim, classes, head.config_type(**values))
