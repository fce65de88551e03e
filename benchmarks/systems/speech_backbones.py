"""Speech encoders of transformers as something to fine-tune: a clip in, its mean over time out.

What the families differ in is here: how much they hear at once, which of their frames belong to the
clip, what their layers are, and where low-rank changes reach them.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from benchmarks.systems.base import Int16, to_float
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.errors import UserError

LEAST_SAMPLES = 400
"""Of a first frame, in every family; a shorter clip is completed with zeros."""


@dataclass(frozen=True)
class Listener:
    """Makes what an encoder takes of waveforms, as its checkpoint wants it.

    Each piece is given to the checkpoint's own extractor by itself, so that it is normalised over
    its true length, and padded with zeros after that.

    Attributes:
        extractor: of the checkpoint.
        window: samples that the encoder hears at once; longer clips are cut. None is no limit.
    """

    extractor: Any
    window: int | None

    def __call__(self, waveforms: Sequence[Int16]) -> dict[str, Tensor]:
        """Inputs of a batch of clips.

        Args:
            waveforms: per clip, (samples,) int16 at 16 kHz.

        Returns:
            ``values`` (pieces, time) or (pieces, ...) float32; ``num_samples`` (pieces,) int64
            before padding; ``clip`` (pieces,) int64, the row of the clip that each is of.
        """
        pieces, clip = [], []
        for row, waveform in enumerate(waveforms):
            size = self.window or max(1, len(waveform))
            for start in range(0, max(1, len(waveform)), size):
                pieces.append(to_float(waveform[start : start + size], LEAST_SAMPLES))
                clip.append(row)
        return {
            "values": pad_sequence([self._extract(piece) for piece in pieces], batch_first=True),
            "num_samples": torch.tensor([len(piece) for piece in pieces]),
            "clip": torch.tensor(clip),
        }

    def _extract(self, samples: Any) -> Tensor:
        made = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        values: Tensor = made[self.extractor.model_input_names[0]][0]
        return values


class SpeechBackbone(nn.Module, ABC):
    """An encoder and the mean of its last layer over a clip.

    Args:
        model: of transformers, this backbone's own.
        extractor: of the checkpoint.
    """

    lora_targets: ClassVar[str]
    """Linear layers that low-rank changes are put beside, as a pattern of their names."""

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        self.model = model
        self.extractor = extractor
        # It would draw from NumPy's global state, so that runs of one seed differ.
        model.config.apply_spec_augment = False

    @property
    def listener(self) -> Listener:
        """Makes its inputs."""
        return Listener(self.extractor, self.window)

    @property
    def dim(self) -> int:
        """Of an embedding."""
        return int(self.model.config.hidden_size)

    def forward(self, values: Tensor, num_samples: Tensor, clip: Tensor) -> Tensor:
        """A batch from ``Listener`` to (clips, dim) float32: means over each clip's own frames."""
        frames = self.hear(values, num_samples).float()
        counts = self.count_frames(num_samples)
        is_padding = torch.arange(frames.shape[1], device=frames.device) >= counts[:, None]
        sums = frames.masked_fill(is_padding[..., None], 0.0).sum(1)
        num_clips = int(clip[-1]) + 1
        whole = sums.new_zeros(num_clips, self.dim).index_add(0, clip, sums)
        lengths = counts.new_zeros(num_clips).index_add(0, clip, counts)
        return whole / lengths[:, None]

    @property
    def window(self) -> int | None:
        """Samples that are heard at once; None is no limit."""
        return None

    @property
    def layers(self) -> nn.ModuleList:
        """Of the transformer, from the input upwards."""
        layers: nn.ModuleList = self.model.layers
        return layers

    @property
    @abstractmethod
    def above(self) -> list[nn.Module]:
        """What follows the last layer."""

    @abstractmethod
    def count_frames(self, num_samples: Tensor) -> Tensor:
        """(pieces,) int64 frames of so many samples, without padding."""

    @abstractmethod
    def hear(self, values: Tensor, num_samples: Tensor) -> Tensor:
        """(pieces, frames, dim) of the last layer."""


class WaveformBackbone(SpeechBackbone):
    """wav2vec 2.0, HuBERT and data2vec: convolutions over the waveform, then a transformer.

    The convolutions stay as they are. Padding is hidden from attention where the checkpoint's
    extractor says so; the others never saw such a mask and take zeros for silence.

    Source: Baevski et al. 2020 (wav2vec 2.0), section 4.3, for the frozen convolutions.
    """

    lora_targets = r"encoder\.layers\.\d+\.attention\.(q_proj|k_proj|v_proj|out_proj)"

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(model, extractor)
        # As freeze_feature_encoder does, which HuBERT lacks; it also spares the backward pass.
        model.feature_extractor._freeze_parameters()

    @property
    def layers(self) -> nn.ModuleList:
        """Of the transformer."""
        layers: nn.ModuleList = self.model.encoder.layers
        return layers

    @property
    def above(self) -> list[nn.Module]:
        """The norm, which others have below the first layer."""
        last = getattr(self.model.config, "do_stable_layer_norm", False)
        return [self.model.encoder.layer_norm] if last else []

    def count_frames(self, num_samples: Tensor) -> Tensor:
        """Of the convolutions, which pad nothing."""
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            num_samples = (num_samples - kernel).div(stride, rounding_mode="floor") + 1
        return num_samples

    def hear(self, values: Tensor, num_samples: Tensor) -> Tensor:
        """(pieces, frames, dim)."""
        mask = None
        if self.extractor.return_attention_mask:
            places = torch.arange(values.shape[1], device=values.device)
            mask = (places < num_samples[:, None]).long()
        states: Tensor = self.model(values, attention_mask=mask).last_hidden_state
        return states


class WavLMBackbone(WaveformBackbone):
    """WavLM, whose attention takes the weights of its projections and never calls them.

    A change beside a projection would do nothing, so low-rank changes are beside the other linear
    layers.

    Source: Feng and Narayanan 2023 (PEFT-SER) change the same ones.
    """

    lora_targets = r"encoder\.layers\.\d+\.feed_forward\.(intermediate_dense|output_dense)"

    def hear(self, values: Tensor, num_samples: Tensor) -> Tensor:
        """(pieces, frames, dim)."""
        with warnings.catch_warnings():
            # transformers gives torch a mask of bool beside one of float; torch takes both.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            return super().hear(values, num_samples)


class WhisperBackbone(SpeechBackbone):
    """Whisper's encoder, which always hears 30 s, silence after the clip included."""

    lora_targets = r"layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj|out_proj)"

    @property
    def window(self) -> int:
        """As of the checkpoint."""
        return int(self.extractor.n_samples)

    @property
    def above(self) -> list[nn.Module]:
        """The norm."""
        return [self.model.layer_norm]

    def count_frames(self, num_samples: Tensor) -> Tensor:
        """Two columns of the spectrogram each."""
        step = 2 * self.extractor.hop_length
        return (num_samples + step - 1).div(step, rounding_mode="floor")

    def hear(self, values: Tensor, num_samples: Tensor) -> Tensor:
        """(pieces, frames, dim)."""
        states: Tensor = self.model(values).last_hidden_state
        return states


class SpectrogramBackbone(SpeechBackbone):
    """AST: patches of a spectrogram of about 10 s, averaged over frequency."""

    lora_targets = r"layers\.\d+\.attention\.(q_proj|k_proj|v_proj|o_proj)"
    _COLUMN_SAMPLES, _HOP_SAMPLES = 400, 160
    """25 and 10 ms, as Kaldi has them and the extractor leaves them."""

    @property
    def window(self) -> int:
        """As many samples as the spectrogram has columns for."""
        return self._COLUMN_SAMPLES + (int(self.extractor.max_length) - 1) * self._HOP_SAMPLES

    @property
    def above(self) -> list[nn.Module]:
        """The norm."""
        return [self.model.layernorm]

    def count_frames(self, num_samples: Tensor) -> Tensor:
        """Columns of patches that begin within the clip."""
        config = self.model.config
        columns = (num_samples - self._COLUMN_SAMPLES).div(
            self._HOP_SAMPLES, rounding_mode="floor"
        ) + 1
        begun = (columns + config.time_stride - 1).div(config.time_stride, rounding_mode="floor")
        return begun.clamp(max=self._num_columns)

    def hear(self, values: Tensor, num_samples: Tensor) -> Tensor:
        """(pieces, columns of patches, dim), without the two tokens in front."""
        tokens = self.model(values).last_hidden_state[:, 2:]
        order = "pieces (frequency time) dim -> pieces time frequency dim"
        return rearrange(tokens, order, time=self._num_columns).mean(2)

    @property
    def _num_columns(self) -> int:
        config = self.model.config
        return int((config.max_length - config.patch_size) // config.time_stride + 1)


BACKBONES: dict[str, type[SpeechBackbone]] = {
    "wav2vec2": WaveformBackbone,
    "hubert": WaveformBackbone,
    "data2vec-audio": WaveformBackbone,
    "wavlm": WavLMBackbone,
    "whisper": WhisperBackbone,
    "audio-spectrogram-transformer": SpectrogramBackbone,
}
"""By ``model_type`` of a checkpoint."""


def build_backbone(model: Any, extractor: Any) -> SpeechBackbone:
    """A backbone of the model's family.

    Args:
        model: of transformers, one that ``check_family`` accepts; the backbone changes it.
        extractor: of its checkpoint.
    """
    return BACKBONES[model.config.model_type](model, extractor)


def check_family(model: Any) -> None:
    """Refuses what no backbone is for.

    Raises:
        UserError: the model is of another family, or has layers after its transformer.
    """
    family = model.config.model_type
    if family not in BACKBONES:
        known = ", ".join(BACKBONES)
        raise UserError(f"encoder: a {family} can't be fine-tuned here: take one of {known}")
    if getattr(model, "adapter", None) is not None:
        raise UserError(
            f"encoder: this {family} has an adapter after its layers, which can't be fine-tuned "
            "here: take one without"
        )
