"""A speech encoder of transformers that learns the task itself: all of it, or low-rank changes.

wav2vec2, HuBERT, WavLM, data2vec-audio, the encoder of Whisper, AST. Clips longer than what Whisper
(30 s) and AST (about 10 s) hear at once are heard in parts, whose frames count alike.
"""

import copy
import math
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from benchmarks.systems.base import FeatureCache, Floats, LabelledClips, System, UnlabelledClips
from benchmarks.systems.neural import Watch, fit_network, hold, refuse_seed, with_seed
from benchmarks.systems.speech_backbones import SpeechBackbone, build_backbone, check_family
from benchmarks.systems.speech_checkpoint import EncoderChoice, SpeechCheckpoint
from benchmarks.systems.speech_classifier import (
    HeardStream,
    SpeechClassifier,
    SpeechTuning,
    group_parameters,
)
from finetune import metrics
from finetune.config import AnyStrategyConfig, FinetuneTrainConfig, FullConfig, LoraConfig
from finetune.heads import SingleLabelConfig
from finetune.labels import Shares
from finetune.looks import Looks
from finetune.strategies import add_lora, fit_head, import_peft, look_at_probe
from ssl_audio.transformer import recompute_layers

STRATEGY_NAMES = {"full": "full", "head_first": "head first", "lora": "LoRA"}
"""In the row's name."""


class TunedTrainConfig(FinetuneTrainConfig):
    """``TrainConfig`` with the defaults of this system.

    Source: Wagner et al. 2023, "Dawn of the Transformer Era in Speech Emotion Recognition", for the
    learning rate and the batch size of whole-model fine-tuning; there the rate is constant.
    """

    max_steps: int = Field(default=1000, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    # As the model's authors have it; only our own blocks are compiled.
    attention: Literal["auto"] = "auto"
    compile: Literal[False] = False
    # A checkpoint of a large encoder takes seconds, and a row's run is never resumed halfway.
    save_every: int = Field(default=1000, gt=0)
    keep_checkpoints: int = Field(default=1, gt=0)


class TunedSpeechEncoderSettings(EncoderChoice):
    """Encoder, what of it learns, and how.

    Attributes:
        strategy: which weights learn: ``full``, ``head_first`` or ``lora``, or its settings; see
            ``finetune.config``. Frozen encoders are the system ``wav2vec2``.
        crop_seconds: of a training clip; None takes whole clips, as validation and test do.
        head: see ``finetune.heads``.
        evaluate_every: steps between looks at the validation clips.
        train: see ``ssl_audio.training``.
    """

    strategy: AnyStrategyConfig = FullConfig()
    crop_seconds: float | None = Field(default=3.0, gt=0, le=30)
    head: SingleLabelConfig = SingleLabelConfig()
    evaluate_every: int = Field(default=100, gt=0)
    train: TunedTrainConfig = TunedTrainConfig()

    @field_validator("strategy")
    @classmethod
    def _let_the_encoder_learn(cls, strategy: AnyStrategyConfig) -> AnyStrategyConfig:
        if strategy.kind not in STRATEGY_NAMES:
            raise ValueError(
                f"{strategy.kind} leaves the encoder as it is: that is the system wav2vec2; "
                f"here it is one of {', '.join(STRATEGY_NAMES)}"
            )
        return strategy

    @field_validator("train")
    @classmethod
    def _leave_the_seed_alone(cls, train: TunedTrainConfig) -> TunedTrainConfig:
        return refuse_seed(train)

    @property
    def learning(self) -> FullConfig | LoraConfig:
        """The strategy, as one of those that are not refused."""
        assert isinstance(self.strategy, FullConfig | LoraConfig)
        return self.strategy


class TunedSpeechEncoder(System[TunedSpeechEncoderSettings]):
    """Encoder, mean over time and linear head, trained together."""

    title = "Fine-tuned speech encoder"
    settings_type = TunedSpeechEncoderSettings

    def __init__(
        self,
        settings: TunedSpeechEncoderSettings,
        classes: tuple[str, ...],
        seed: int,
        cache: FeatureCache,
    ) -> None:
        super().__init__(settings, classes, seed, cache)
        self._checkpoint = SpeechCheckpoint(settings)

    @classmethod
    def suffix(cls, settings: TunedSpeechEncoderSettings) -> str:
        """Which encoder and strategy, and whether weights began random, as of now and here."""
        return SpeechCheckpoint(settings).describe(STRATEGY_NAMES[settings.strategy.kind])

    @classmethod
    def check(cls, settings: TunedSpeechEncoderSettings) -> None:
        """The encoder can be loaded and is of a family that is known, and peft is installed."""
        checkpoint = SpeechCheckpoint(settings)
        checkpoint.check()
        if checkpoint.folder:
            check_family(checkpoint.load("cpu")[0])
        if settings.strategy.kind == "lora":
            import_peft()

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Trains what the strategy says and keeps the best step by UAR on validation."""
        settings, strategy = self.settings, self.settings.learning
        backbone = _copy_backbone(self._checkpoint)
        if settings.train.gradient_checkpointing:
            recompute_layers(backbone.layers)
        # Only now: loading draws numbers too, but the first time only.
        torch.manual_seed(self.seed)
        classifier = SpeechClassifier(backbone, self.classes, settings.head)
        classifier.to("cuda" if torch.cuda.is_available() else "cpu")
        targets = np.eye(len(self.classes), dtype=np.float32)[train.labels]
        fresh = copy.deepcopy(classifier.head.state_dict())
        if self._begins_as_probe:
            fit_head(classifier.head, classifier.embed_each(train.waveforms), targets)
        if isinstance(strategy, LoraConfig):
            add_lora(backbone.model, strategy, backbone.lora_targets)
        module = SpeechTuning(classifier, strategy, torch.from_numpy(targets.sum(0)))
        self._classifier = module.judged
        self._trained = fit_network(
            module,
            self._stream(train, targets, classifier),
            with_seed(settings.train, self.seed),
            self._watch(validation, module, fresh),
            group_parameters(classifier, settings.train.weight_decay, self._layer_decay),
            module.after_step,
        )

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The head's softmax."""
        return self._classifier.judge(clips.waveforms)

    @property
    def parameters(self) -> int | None:
        """Of encoder and head, low-rank changes included."""
        return sum(weight.numel() for weight in self._classifier.parameters())

    @property
    def pretraining_data(self) -> str:
        """The encoder's pool, where it is known."""
        return self._checkpoint.pretraining_data

    @property
    def weights(self) -> str:
        """The encoder's, before."""
        return self._checkpoint.weights

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether training was cut."""
        return self._trained.notes

    @property
    def choices(self) -> dict[str, Any]:
        """Precision and device."""
        return self._trained.choices

    @property
    def _begins_as_probe(self) -> bool:
        pretrained = self._checkpoint.folder is not None
        return self.settings.learning.begins_as_probe(pretrained)

    @property
    def _layer_decay(self) -> float:
        strategy = self.settings.strategy
        if isinstance(strategy, LoraConfig):
            return 1.0
        if isinstance(strategy, FullConfig) and strategy.layer_decay is not None:
            return strategy.layer_decay
        return 0.75 if self._checkpoint.folder else 1.0

    def _stream(
        self, clips: LabelledClips, targets: Shares, classifier: SpeechClassifier
    ) -> HeardStream:
        corpus = hold(clips.waveforms)
        return HeardStream(
            corpus,
            np.arange(len(corpus)),
            self.seed,
            self.settings.crop_seconds,
            targets=targets,
            groups=np.zeros(len(corpus), np.int64),
            listener=classifier.backbone.listener,
        )

    def _watch(self, clips: LabelledClips, module: SpeechTuning, fresh: dict[str, Tensor]) -> Watch:
        def uar(answer: Floats) -> float:
            return float(metrics.uar(metrics.confusion_matrix(clips.labels, answer)))

        every = self.settings.evaluate_every
        looks = Looks(uar, math.ceil(self.settings.train.max_steps / every))

        def score() -> float:
            looks.add(answer := self._classifier.judge(clips.waveforms))
            return uar(answer)

        if not self._begins_as_probe:
            return Watch(every, score)
        heads = (module.classifier.head, module.judged.head)
        strategy, beaten = self.settings.strategy, looks.newest_is_better
        return Watch(every, score, look_at_probe(strategy, heads, fresh, beaten))


def _copy_backbone(checkpoint: SpeechCheckpoint) -> SpeechBackbone:
    """One of its own: what is loaded belongs to all."""
    model, extractor = checkpoint.load("cpu")
    return build_backbone(copy.deepcopy(model), extractor)
