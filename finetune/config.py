"""Configuration of a fine-tuning run."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from finetune.heads import SingleLabelConfig
from ssl_audio.build import EncoderSettings
from ssl_audio.config import Config
from ssl_audio.pooling import PoolingName
from ssl_audio.session import TrainConfig


class LabelledDataConfig(Config):
    """Which labelled clips.

    Attributes:
        corpus: prepared folder.
        folds: a protocol's name or a folds file.
        fold: which of them.
        crop_seconds: of a training clip; whole clips are used for validation and test.
    """

    corpus: Path
    folds: str
    fold: int = 1
    crop_seconds: float = Field(default=3.0, gt=0, le=30)


class FinetuneTrainConfig(TrainConfig):
    """``TrainConfig`` with the defaults of fine-tuning."""

    max_steps: int = Field(default=500, gt=0)
    warmup_steps: int = Field(default=50, ge=0)
    # Batch norm needs two clips.
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=5e-4, gt=0)


class ClassifierConfig(Config):
    """A classifier and how it learns, whatever the clips.

    Attributes:
        encoder: folder of a pretrained encoder; None starts from scratch.
        scratch: the encoder to build if there is none.
        strategy: ``full`` trains every weight, ``frozen`` the head only.
        pooling: see ``ssl_audio.pooling``.
        head: see ``finetune.heads``.
        token_drop: share of tokens hidden in training, which regularises and saves time.
        layer_decay: factor on the learning rate per block from the top down; None is 0.75 for a
            pretrained encoder and 1 from scratch, where low blocks have everything to learn.
        evaluate_every: steps between looks at the validation clips.
        train: see ``ssl_audio.training``.
    """

    encoder: Path | None = None
    scratch: EncoderSettings = EncoderSettings()
    strategy: Literal["full", "frozen"] = "full"
    pooling: PoolingName = "mean_std"
    head: SingleLabelConfig = SingleLabelConfig()
    token_drop: float = Field(default=0.3, ge=0, lt=1)
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    evaluate_every: int = Field(default=50, gt=0)
    train: FinetuneTrainConfig = FinetuneTrainConfig()

    @property
    def chosen_layer_decay(self) -> float:
        """``layer_decay``, or what suits the encoder."""
        default = 0.75 if self.encoder else 1.0
        return default if self.layer_decay is None else self.layer_decay

    @property
    def start(self) -> str:
        """What tells its row from another classifier's: ``pretrained, frozen``."""
        origin = "pretrained" if self.encoder else "from scratch"
        return origin + (", frozen" if self.strategy == "frozen" else "")


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
