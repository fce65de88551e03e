"""AudioClassifier: an encoder, a pooling and a head as one transformers model."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from finetune.heads import HEADS, SingleLabelConfig
from ssl_audio.encoder import AudioEncoder, AudioEncoderOutput, PatchedAudio
from ssl_audio.encoder_config import AudioEncoderConfig, refuse_unknown_keys
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
    classes: list[str] | tuple[str, ...] = ()

    def __post_init__(self, **kwargs: Any) -> None:
        refuse_unknown_keys("AudioClassifierConfig", kwargs)
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
        if len(config.classes) < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {config.classes}")
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
        logits = self.encoder.pool_clips(waveform, num_samples, self._classify)
        return AudioClassifierOutput(logits=logits)

    def classify_patches(self, audio: PatchedAudio, masked: Masked) -> Tensor:
        """Logits (batch, classes) of the visible patches."""
        return self._classify(self.encoder.encode(audio, masked))

    def _classify(self, output: AudioEncoderOutput) -> Tensor:
        pooled = self.pooling(output.last_hidden_state, output.cls, output.padding_mask)
        return self.head(pooled)

    def probabilities(self, waveform: Tensor, num_samples: Tensor | None = None) -> Tensor:
        """(batch, classes) float32; each row sums to one."""
        return self.head.probabilities(self(waveform, num_samples).logits)
