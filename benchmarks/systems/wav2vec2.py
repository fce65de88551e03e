"""A frozen speech encoder of transformers and a small head.

wav2vec2, HuBERT, WavLM, data2vec-audio, the encoder of Whisper, AST: whatever ``AutoModel`` loads
and takes 16 kHz. Settings are never chosen on test clips: the head is trained for a fixed number of
steps, and where the layer is chosen, the protocol's validation clips or inner folds choose it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator

from benchmarks.systems.base import FeatureCache, Floats, LabelledClips, System, UnlabelledClips
from benchmarks.systems.layer_head import LayerHead
from benchmarks.systems.neural import ArrayStream, Trained, fit_network, refuse_seed, with_seed
from benchmarks.systems.selection import choose_and_fit
from benchmarks.systems.speech_checkpoint import EncoderChoice, SpeechCheckpoint
from benchmarks.systems.speech_features import pretrained_layer_means, random_layer_means
from ssl_audio.data.prepared import Int16
from ssl_audio.probing import choose_precision
from ssl_audio.session import TrainConfig


class HeadTrainConfig(TrainConfig):
    """``TrainConfig`` with the defaults of a small head."""

    max_steps: int = Field(default=600, gt=0)
    warmup_steps: int = Field(default=30, ge=0)
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "float32"


class SpeechEncoderSettings(EncoderChoice):
    """Encoder and head.

    Attributes:
        layers: ``last``; ``weighted``, a learnt mixture of all; ``chosen``, the best one.
        max_training_clips: a random choice of so many is learnt from, to save time; None is all.
        precision: of the encoder; ``auto`` measures which is faster.
        hidden_size: of the head.
        dropout: of the head.
        train: of the head, see ``ssl_audio.training``.
    """

    layers: Literal["last", "weighted", "chosen"] = "last"
    max_training_clips: int | None = Field(default=None, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    hidden_size: int = Field(default=256, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    train: HeadTrainConfig = HeadTrainConfig()

    @field_validator("train")
    @classmethod
    def _leave_the_seed_alone(cls, train: HeadTrainConfig) -> HeadTrainConfig:
        return refuse_seed(train)


class FrozenSpeechEncoder(System[SpeechEncoderSettings]):
    """Means over time of a frozen encoder's layers, and a head with one hidden layer."""

    title = "Frozen speech encoder"
    settings_type = SpeechEncoderSettings

    def __init__(
        self,
        settings: SpeechEncoderSettings,
        classes: tuple[str, ...],
        seed: int,
        cache: FeatureCache,
    ) -> None:
        super().__init__(settings, classes, seed, cache)
        self._checkpoint = SpeechCheckpoint(settings)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._precision: str = settings.precision
        if settings.precision == "auto":
            self._precision = choose_precision(torch.device(self._device))

    @classmethod
    def suffix(cls, settings: SpeechEncoderSettings) -> str:
        """Which encoder and layers, and whether its weights are random, as of now and here."""
        layers = "layers" if settings.layers == "weighted" else "layer"
        return SpeechCheckpoint(settings).describe(f"{settings.layers} {layers}")

    @classmethod
    def check(cls, settings: SpeechEncoderSettings) -> None:
        """The encoder can be loaded, or random weights were asked for or are good enough."""
        SpeechCheckpoint(settings).check()

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Trains the head, once for each layer if the layer is chosen."""
        train = self._thin(train)
        num_layers = self._features(train.waveforms[:1]).shape[1]
        candidates: dict[str, list[tuple[int, ...]]] = {
            "last": [(num_layers - 1,)],
            "weighted": [tuple(range(num_layers))],
            "chosen": [(layer,) for layer in range(num_layers)],
        }
        self._layers, self._head, self._trained = choose_and_fit(
            candidates[self.settings.layers], self._fit, self._answer, train, validation
        )

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The head's softmax."""
        return self._answer((self._layers, self._head, self._trained), clips.waveforms)

    @property
    def parameters(self) -> int | None:
        """Of encoder and head."""
        model, _ = self._checkpoint.load(self._device)
        parts = (model, self._head)
        return sum(weight.numel() for part in parts for weight in part.parameters())

    @property
    def pretraining_data(self) -> str:
        """The encoder's pool, where it is known."""
        return self._checkpoint.pretraining_data

    @property
    def weights(self) -> str:
        """The encoder's."""
        return self._checkpoint.weights

    @property
    def notes(self) -> tuple[str, ...]:
        """Which layer was chosen, and whether training was cut."""
        chosen = self.settings.layers == "chosen"
        return (*((f"layer {self._layers[0]} chosen",) if chosen else ()), *self._trained.notes)

    @property
    def choices(self) -> dict[str, Any]:
        """Of the encoder, and of the head's training."""
        return {**self._trained.choices, "encoder_precision": self._precision}

    def _thin(self, clips: LabelledClips) -> LabelledClips:
        most = self.settings.max_training_clips
        if most is None or most >= len(clips.labels):
            return clips
        chosen = np.zeros(len(clips.labels), dtype=np.bool_)
        chosen[np.random.default_rng(self.seed).permutation(len(chosen))[:most]] = True
        inner = None if clips.inner is None else clips.inner[chosen]
        return replace(clips.take(chosen), inner=inner)

    def _fit(
        self, layers: tuple[int, ...], clips: LabelledClips
    ) -> tuple[tuple[int, ...], LayerHead, Trained]:
        features = self._features(clips.waveforms)[:, layers]
        settings = self.settings
        torch.manual_seed(self.seed)
        head = LayerHead(features, len(self.classes), settings.hidden_size, settings.dropout)
        stream = ArrayStream(features, clips.labels, self.seed)
        return layers, head, fit_network(head, stream, with_seed(settings.train, self.seed))

    def _answer(
        self, fitted: tuple[tuple[int, ...], LayerHead, Trained], waveforms: Sequence[Int16]
    ) -> Floats:
        layers, head, _ = fitted
        return head.judge(self._features(waveforms)[:, layers])

    def _features(self, waveforms: Sequence[Int16]) -> npt.NDArray[np.float32]:
        """(clips, layers + 1, dim)."""
        how = {"precision": self._precision, "device": self._device}
        checkpoint = self._checkpoint
        if checkpoint.folder:
            options = {"folder": str(checkpoint.folder), "weights": checkpoint.sha256, **how}
            return self.cache.extract(waveforms, pretrained_layer_means, **options)
        shape = self.settings.random.options
        return self.cache.extract(waveforms, random_layer_means, **shape, **how)
