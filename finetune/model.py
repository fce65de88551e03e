"""AudioClassifier: an encoder, a pooling and a head as one transformers model."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from finetune.heads import build_head
from finetune.instances import Combination, WindowConfig, Windows, cut_windows
from finetune.levels import LevelMixture, LevelName
from finetune.moments import TimelineConfig, place_moments
from finetune.pauses import cut_at_pauses
from finetune.timeline import OverTime
from ssl_audio.encoder import AudioEncoder, AudioEncoderOutput, PatchedAudio
from ssl_audio.encoder_config import AudioEncoderConfig, refuse_unknown_keys
from ssl_audio.masking import Masked
from ssl_audio.pooling import Pooling, PoolingName

_WINDOWS_AT_ONCE = 64
"""Of a long clip; memory does not grow with its length."""


class AudioClassifierConfig(PreTrainedConfig):
    """Shape of a classifier, and what its validation clips said of its answers.

    Attributes:
        encoder_config: of the encoder inside.
        pooling: from tokens to one vector, see ``ssl_audio.pooling``.
        level: of the encoder, see ``finetune.levels``.
        windows: see ``finetune.instances.WindowConfig``; None judges a clip as a whole.
        timeline: see ``finetune.moments.TimelineConfig``.
        head_config: of the head, see ``finetune.heads``.
        classes: their names, in the order of the logits.
        task: ``single``, ``multilabel`` or ``gender-emotion``.
        temperature: that logits are divided by.
        thresholds: of a multilabel head, for each class; empty is a half for all.
        moment_thresholds: the same for what is heard when; empty takes ``thresholds``.
        unsure_below: an answer less probable than this is "don't know"; None answers always.
    """

    model_type = "ssl_audio_classifier"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {"encoder_config": AudioEncoderConfig}

    encoder_config: AudioEncoderConfig | dict[str, Any] | None = None
    pooling: PoolingName = "mean_std"
    level: LevelName = "last"
    windows: dict[str, Any] | None = None
    timeline: dict[str, Any] | None = None
    head_config: dict[str, Any] | None = None
    classes: list[str] | tuple[str, ...] = ()
    task: str = "single"
    temperature: float = 1.0
    thresholds: list[float] | tuple[float, ...] = ()
    moment_thresholds: list[float] | tuple[float, ...] = ()
    unsure_below: float | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        refuse_unknown_keys("AudioClassifierConfig", kwargs)
        self.id2label = dict(enumerate(self.classes))
        self.label2id = {name: index for index, name in enumerate(self.classes)}
        self.thresholds = tuple(self.thresholds) or (0.5,) * len(self.classes)
        several = self.task == "multilabel"
        self.problem_type = (
            "multi_label_classification" if several else "single_label_classification"
        )
        super().__post_init__(**kwargs)

    def asked_when(self) -> tuple[TimelineConfig, float]:
        """How it is asked what is heard when, and the seconds of a window: no moment is longer."""
        window = WindowConfig(**(self.windows or {})).seconds
        timeline = TimelineConfig(**(self.timeline or {}))
        shortest = min(timeline.moment_seconds, window)
        return timeline.model_copy(update={"moment_seconds": shortest}), window


@dataclass
class AudioClassifierOutput(ModelOutput):
    """``logits`` (batch, classes)."""

    logits: Tensor | None = None


class AudioClassifier(PreTrainedModel):
    """Waveform in, one logit per class out."""

    config: AudioClassifierConfig
    config_class = AudioClassifierConfig
    base_model_prefix = "encoder"
    main_input_name = "waveform"
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012  as transformers declares it

    def __init__(self, config: AudioClassifierConfig) -> None:
        super().__init__(config)
        if len(config.classes) < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {config.classes}")
        assert isinstance(config.encoder_config, AudioEncoderConfig)  # transformers built it
        self.encoder = AudioEncoder(config.encoder_config)
        num_levels = config.encoder_config.num_hidden_layers + 1
        self.mixture = LevelMixture(num_levels) if config.level == "weighted" else None
        self.pooling = Pooling(config.pooling, config.encoder_config.hidden_size)
        dim = self.pooling.output_dim
        self.head = build_head(dim, config.classes, config.head_config or {})
        self.windows = WindowConfig(**config.windows) if config.windows else None
        self.combination = (
            Combination(self.windows.combination, dim, self.head.exclusive)
            if self.windows
            else None
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AudioEncoder):
            nn.init.normal_(module.cls_token, std=module.config.initializer_range)
        if isinstance(module, LevelMixture):
            nn.init.zeros_(module.scores)

    def forward(self, waveform: Tensor, num_samples: Tensor | None = None) -> AudioClassifierOutput:
        """Tempered logits of a batch of clips of any length, as transformers' pipelines take them.

        Args:
            waveform: (batch, samples) float32 in [-1, 1] at the encoder's sample rate.
            num_samples: (batch,) int64 true lengths; None means that nothing is padding.
        """
        if self.windows is None:
            logits = self.judge(self.embed(waveform, num_samples))
        else:
            if num_samples is None:
                whole = waveform.shape[1]
                num_samples = torch.full((len(waveform),), whole, device=waveform.device)
            windows = self.cut(waveform, num_samples, self.windows)
            logits = self.judge(self._embed_windows(windows), windows)
        return AudioClassifierOutput(logits=logits / self.config.temperature)

    def embed(self, waveform: Tensor, num_samples: Tensor | None = None) -> Tensor:
        """(batch, dim) pooled embeddings of whole clips of any length, as the head reads them."""
        deep = self.config.level != "last"
        return self.encoder.pool_clips(waveform, num_samples, self._pool, deep)

    def embed_judged(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads of a batch of clips: each as a whole, or its windows.

        Returns:
            (judged, dim) embeddings and (judged,) int64, the row of the clip that each is of.
        """
        if self.windows is None:
            rows = torch.arange(len(waveform), device=waveform.device)
            return self.embed(waveform, num_samples), rows
        windows = self.cut(waveform, num_samples, self.windows)
        return self._embed_windows(windows), windows.clip

    def embed_patches(self, audio: PatchedAudio, masked: Masked) -> Tensor:
        """(batch, dim) pooled embeddings of the visible patches."""
        deep = self.config.level != "last"
        return self._pool(self.encoder.encode(audio, masked, output_hidden_states=deep))

    def judge(self, embedding: Tensor, windows: Windows | None = None) -> Tensor:
        """(batch, dim) to logits (batch, classes); of windows, to those of their clips."""
        logits: Tensor = self.head(embedding)
        if windows is None or self.combination is None:
            return logits
        return self.combination(logits, embedding, windows)

    def cut(self, waveform: Tensor, num_samples: Tensor, config: WindowConfig) -> Windows:
        """Windows of a batch of clips."""
        rate = self.encoder.config.sample_rate
        lengths = (round(seconds * rate) for seconds in (config.seconds, config.hop_seconds))
        return cut_windows(waveform, num_samples, *lengths)

    def probabilities(self, waveform: Tensor, num_samples: Tensor | None = None) -> Tensor:
        """(batch, classes) float32, tempered; each row sums to one unless several can be right."""
        return self.head.probabilities(self(waveform, num_samples).logits)

    @torch.no_grad()
    def probabilities_over_time(self, waveform: Tensor) -> OverTime:
        """What is heard when: each phrase between two pauses is judged apart.

        A short phrase is one moment; a moment of a longer one has the mean over the phrase's
        windows that hold its start.

        Args:
            waveform: (samples,) float32, one at least. A classifier of whole clips judges long
                phrases by windows of the default length.
        """
        config, window = self.config.asked_when()
        rate = self.encoder.config.sample_rate
        edges = cut_at_pauses(waveform, rate, config.pause_seconds)
        lengths = (window, config.moment_seconds, config.phrase_seconds)
        samples = [round(seconds * rate) for seconds in lengths]
        phrases = [place_moments(*ends, *samples) for ends in pairwise(edges)]
        judged = self._judge_windows(waveform, np.concatenate([p.windows for p in phrases]))
        counts = np.cumsum([len(phrase.windows) for phrase in phrases])[:-1]
        parts = zip(phrases, np.split(judged, counts), strict=True)
        over_time = np.concatenate([phrase.average(part) for phrase, part in parts])
        starts, ends = np.concatenate([phrase.edges for phrase in phrases]).T / rate
        return OverTime(starts, ends, over_time.astype(np.float32))

    def _judge_windows(
        self, waveform: Tensor, windows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """(windows, classes) probabilities of (windows, 2) stretches of a clip."""
        judged = []
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            some = windows[first : first + _WINDOWS_AT_ONCE]
            cut = pad_sequence([waveform[start:end] for start, end in some.tolist()], True)
            lengths = torch.from_numpy(some[:, 1] - some[:, 0]).to(waveform.device)
            logits = self.head(self.embed(cut, lengths)) / self.config.temperature
            judged.append(self.head.probabilities(logits))
        return torch.cat(judged).cpu().numpy()

    def _embed_windows(self, windows: Windows) -> Tensor:
        parts = zip(
            windows.waveform.split(_WINDOWS_AT_ONCE),
            windows.num_samples.split(_WINDOWS_AT_ONCE),
            strict=True,
        )
        return torch.cat([self.embed(*part) for part in parts])

    def _pool(self, output: AudioEncoderOutput) -> Tensor:
        tokens = output.last_hidden_state
        if self.config.level != "last":
            assert output.hidden_states is not None  # they were asked for
            tokens = (
                self.mixture(output.hidden_states)
                if self.mixture is not None
                else output.hidden_states[int(self.config.level)]
            )
        return self.pooling(tokens, output.cls, output.padding_mask)
