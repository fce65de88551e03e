"""AudioClassifier: an encoder, a pooling and a head as one transformers model."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from finetune.heads import HEADS, SingleLabelConfig
from ssl_audio.encoder import AudioEncoder, AudioEncoderConfig
from ssl_audio.masking import Masked
from ssl_audio.pooling import Pooling, PoolingName


class AudioClassifierConfig(PreTrainedConfig):
    """Shape of a classifier.

    Attributes:
        encoder_config: of the encoder inside.
        pooling: from tokens to one vector, see ``ssl_audio.pooling``.
        head_config: of the head, see ``finetune.heads``.
        classes: their names, in the order of the logits.
    """

    model_type = "ssl_audio_classifier"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {"encoder_config": AudioEncoderConfig}

    encoder_config: AudioEncoderConfig | dict[str, Any] | None = None
    pooling: PoolingName = "mean_std"
    head_config: dict[str, Any] | None = None
    classes: list[str] | tuple[str, ...] = ("no", "yes")

    def __post_init__(self, **kwargs: Any) -> None:
        self.id2label = dict(enumerate(self.classes))
        self.label2id = {name: index for index, name in enumerate(self.classes)}
        super().__post_init__(**kwargs)


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
        assert isinstance(config.encoder_config, AudioEncoderConfig)  # transformers built it
        self.encoder = AudioEncoder(config.encoder_config)
        self.pooling = Pooling(config.pooling, config.encoder_config.hidden_size)
        head_config = SingleLabelConfig(**(config.head_config or {}))
        self.head = HEADS[head_config.kind](
            self.pooling.output_dim, len(config.classes), head_config
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AudioEncoder):
            nn.init.normal_(module.cls_token, std=module.config.initializer_range)

    def forward(self, waveform: Tensor, num_samples: Tensor | None = None) -> AudioClassifierOutput:
        """Logits of a batch of clips of any length.

        Args:
            waveform: (batch, samples) float32 in [-1, 1] at the encoder's sample rate.
            num_samples: (batch,) int64 true lengths; None means that nothing is padding.
        """
        limit = self.encoder.config.max_seconds * self.encoder.config.sample_rate
        if waveform.shape[1] <= limit:
            audio = self.encoder.patch_audio(waveform, num_samples)
            return AudioClassifierOutput(logits=self.classify_patches(audio, None))
        lengths = [waveform.shape[1]] * len(waveform) if num_samples is None else num_samples
        clips = zip(waveform, lengths, strict=True)
        return AudioClassifierOutput(
            logits=torch.cat([self._classify_long(clip[: int(n)]) for clip, n in clips])
        )

    def classify_patches(self, audio: Any, masked: Masked | None) -> Tensor:
        """Logits (batch, classes) of a ``PatchedAudio``, of its visible patches only if masked."""
        output = self.encoder.encode(audio, masked)
        return self.head(self.pooling(output.last_hidden_state, output.cls, output.padding_mask))

    def _classify_long(self, clip: Tensor) -> Tensor:
        """(samples,) -> logits (1, classes), pooled over the tokens of overlapping windows."""
        tokens = self.encoder.frame_embeddings(clip)[None]
        padding_mask = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return self.head(self.pooling(tokens, tokens.mean(1), padding_mask))

    def probabilities(self, waveform: Tensor, num_samples: Tensor | None = None) -> Tensor:
        """(batch, classes) float32; each row sums to one."""
        return self.head.probabilities(self(waveform, num_samples).logits)
