"""Configuration of a fine-tuning run."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from finetune.augmentation import AugmentConfig
from finetune.heads import AnyHeadConfig, SingleLabelConfig
from finetune.instances import WindowConfig
from finetune.levels import LevelName
from finetune.mixing import MixingConfig
from finetune.moments import TimelineConfig
from finetune.self_training import SelfTrainingConfig
from ssl_audio.build import EncoderSettings
from ssl_audio.config import Config, Variant, kind_or
from ssl_audio.pooling import PoolingName
from ssl_audio.session import TrainConfig


class LabelledDataConfig(Config):
    """Which labelled clips.

    Attributes:
        corpus: prepared folder.
        folds: a protocol's name or a folds file.
        fold: which of them.
        votes: CSV of raters' votes, soft targets for the training clips that it names.
        crop_seconds: of a training clip; None takes whole clips. Validation and test clips are
            whole.
    """

    corpus: Path
    folds: str
    fold: int = 1
    votes: Path | None = None
    crop_seconds: float | None = Field(default=3.0, gt=0, le=30)


class FinetuneTrainConfig(TrainConfig):
    """``TrainConfig`` with the defaults of fine-tuning."""

    max_steps: int = Field(default=500, gt=0)
    warmup_steps: int = Field(default=50, ge=0)
    # Batch norm needs two clips.
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=5e-4, gt=0)


class StrategyConfig(Variant):
    """Settings of any strategy."""

    fits_head: ClassVar[bool] = False
    """The head is fitted to the frozen encoder before anything else."""

    def begins_as_probe(self, pretrained: bool) -> bool:
        """Whether the head is fitted first, to learn on or to be compared with.

        Args:
            pretrained: the encoder is.
        """
        return self.fits_head


class ProbeConfig(StrategyConfig):
    """The head is fitted to the frozen encoder by logistic regression; no steps are taken.

    All classes weigh the same in it, however common they are.
    """

    kind: Literal["probe"] = "probe"
    fits_head: ClassVar[bool] = True


class LearningConfig(StrategyConfig):
    """Settings of a strategy that takes steps.

    Attributes:
        keep_probe: what has learnt is kept only if it is better than a probe of the same encoder,
            level and pooling by more than chance, see ``looks``. From scratch only where the head
            is fitted first.
    """

    keep_probe: bool = True

    def begins_as_probe(self, pretrained: bool) -> bool:
        """See StrategyConfig."""
        return self.fits_head or (self.keep_probe and pretrained)


class FrozenConfig(LearningConfig):
    """Only the head learns."""

    kind: Literal["frozen"] = "frozen"


class FullConfig(LearningConfig):
    """Every weight learns.

    Attributes:
        layer_decay: factor on the learning rate per block from the level that the head reads down;
            None is 0.75 for a pretrained encoder and 1 from scratch, where low blocks have
            everything to learn.
        average_share: time constant of a moving average of the weights, as a share of the run;
            what is kept is the average. 0 keeps the weights themselves.
    """

    kind: Literal["full"] = "full"
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    average_share: float = Field(default=0.1, ge=0, lt=1)


class HeadFirstConfig(FullConfig):
    """The head is fitted to the frozen encoder, to its optimum, before every weight learns.

    Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution", section 3.3 (LP-FT).
    """

    kind: Literal["head_first"] = "head_first"  # type: ignore[assignment]
    fits_head: ClassVar[bool] = True


class LoraConfig(LearningConfig):
    """The head is fitted; then it and low-rank changes of attention learn, merged in the end.

    Attributes:
        rank: of a change.
        alpha: a change is scaled by alpha / rank.
        dropout: on its input.

    Source: Hu et al. 2022 (LoRA), section 4.
    """

    kind: Literal["lora"] = "lora"
    fits_head: ClassVar[bool] = True
    rank: int = Field(default=8, gt=0)
    alpha: int = Field(default=16, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)


AnyStrategyConfig = Annotated[
    Annotated[FrozenConfig, Tag("frozen")]
    | Annotated[ProbeConfig, Tag("probe")]
    | Annotated[FullConfig, Tag("full")]
    | Annotated[HeadFirstConfig, Tag("head_first")]
    | Annotated[LoraConfig, Tag("lora")],
    Discriminator(kind_or("full")),
]
"""Which weights learn; full unless ``kind`` says otherwise."""


_STRATEGY_NAMES = {
    "frozen": ", frozen",
    "probe": ", probe",
    "full": "",
    "head_first": ", head first",
    "lora": ", LoRA",
}


class ClassifierConfig(Config):
    """A classifier and how it learns, whatever the clips.

    Attributes:
        encoder: folder of a pretrained encoder; None starts from scratch.
        scratch: the encoder to build if there is none.
        strategy: which weights learn; its name or its settings.
        level: of the encoder, that the head reads: ``last``, ``weighted``, a number, or ``chosen``,
            the one of which a linear probe tells most about the validation clips.
        pooling: see ``ssl_audio.pooling``.
        windows: long clips are judged window by window; None judges each as a whole.
        timeline: how it is asked what is heard when.
        head: see ``finetune.heads``.
        token_drop: share of tokens hidden in training, which regularises and saves time.
        augment: changes of training clips.
        mixing: of pairs of training clips; None leaves them unmixed.
        sampling: ``balanced`` draws clips of every class equally often.
        training_share: of the training clips of each class that are learnt from.
        wanted_accuracy: of the validation clips that are answered; the others, less sure ones, are
            "don't know". None answers always.
        self_training: learns a second time, with unlabelled clips that the first model is sure of.
        evaluate_every: steps between looks at the validation clips.
        train: see ``ssl_audio.training``.
    """

    encoder: Path | None = None
    scratch: EncoderSettings = EncoderSettings()
    strategy: AnyStrategyConfig = FullConfig()
    level: LevelName | Literal["chosen"] = "last"
    pooling: PoolingName = "mean_std"
    windows: WindowConfig | None = None
    timeline: TimelineConfig = TimelineConfig()
    head: AnyHeadConfig = SingleLabelConfig()
    token_drop: float = Field(default=0.3, ge=0, lt=1)
    augment: AugmentConfig = AugmentConfig()
    mixing: MixingConfig | None = None
    sampling: Literal["natural", "balanced"] = "natural"
    training_share: float = Field(default=1.0, gt=0, le=1)
    wanted_accuracy: float | None = Field(default=None, gt=0, lt=1)
    self_training: SelfTrainingConfig | None = None
    evaluate_every: int = Field(default=50, gt=0)
    train: FinetuneTrainConfig = FinetuneTrainConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.windows and self.mixing:
            raise ValueError("mixing is of crops: leave it out, or windows")
        if self.level != "last" and self.pooling == "cls":
            raise ValueError("pooling cls is of the last level only")
        if self.strategy.kind == "lora" and self.encoder is None:
            raise ValueError("strategy lora changes a pretrained encoder: name one with encoder")
        if self.strategy.kind == "probe":
            self._refuse_what_a_probe_does_not_learn()
        if self.level == "chosen" and self.head.kind == "multilabel":
            raise ValueError("level chosen is by clips of one class each, not multilabel ones")
        if (
            self.windows
            and self.windows.combination == "noisy_or"
            and self.head.kind != "multilabel"
        ):
            raise ValueError("windows.combination noisy_or needs head multilabel")
        if self.sampling == "balanced" and self.head.kind == "multilabel":
            raise ValueError("sampling balanced needs clips of one class each, not multilabel ones")
        if self.sampling == "balanced" and self.head.class_balance != "none":
            raise ValueError("sampling balanced and head.class_balance do the same: leave one out")
        if self.self_training and self.head.kind == "multilabel":
            raise ValueError("self_training needs one class for each clip, not multilabel ones")
        if self.wanted_accuracy and self.head.kind == "multilabel":
            raise ValueError("wanted_accuracy is of one class a clip, not of multilabel clips")
        return self

    def _refuse_what_a_probe_does_not_learn(self) -> None:
        attention = self.windows is not None and self.windows.combination == "attention"
        unused = {
            "level weighted": self.level == "weighted",
            "pooling attention": self.pooling == "attention",
            "windows.combination attention": attention,
            "augment": self.augment != AugmentConfig(),
            "mixing": self.mixing is not None,
            "sampling balanced": self.sampling == "balanced",
            "head.class_balance": self.head.class_balance != "none",
            "head.focusing": self.head.focusing > 0,
        }
        for name in (name for name, asked in unused.items() if asked):
            raise ValueError(f"strategy probe takes no steps that could learn {name}: leave it out")

    @property
    def begins_as_probe(self) -> bool:
        """Whether the head is fitted first, to learn on or to be compared with."""
        return self.strategy.begins_as_probe(pretrained=self.encoder is not None)

    @property
    def layer_decay(self) -> float:
        """Of the strategy, or what suits the encoder; 1 where not every weight learns."""
        if not isinstance(self.strategy, FullConfig):
            return 1.0
        if self.strategy.layer_decay is not None:
            return self.strategy.layer_decay
        return 0.75 if self.encoder else 1.0

    @property
    def start(self) -> str:
        """What tells its row from another classifier's: ``pretrained, frozen``."""
        learns = self.strategy.kind not in ("probe", "frozen")
        origin = "pretrained" if self.encoder else "from scratch" if learns else "untrained"
        twice = ", self-training" if self.self_training else ""
        return origin + _STRATEGY_NAMES[self.strategy.kind] + twice


class FinetuneConfig(ClassifierConfig):
    """Everything of a fine-tuning run.

    Attributes:
        data: labelled clips.
        system: the row's name in tables; None makes one.
    """

    data: LabelledDataConfig
    system: str | None = None

    @property
    def row_name(self) -> str:
        """How tables call this run."""
        return self.system or f"Ours, {self.start}"
