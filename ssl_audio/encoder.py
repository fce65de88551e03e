"""AudioEncoder: a transformer over spectrogram patches, with its front end inside."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from transformers import BatchFeature, PreTrainedModel, SequenceFeatureExtractor
from transformers.utils import ModelOutput

from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.features import LogMel
from ssl_audio.masking import Masked
from ssl_audio.patches import Grid, grid_positions, patch_padding_mask, patchify
from ssl_audio.pooling import mean_pool
from ssl_audio.transformer import Block, Stack, attention_bias


@dataclass(frozen=True)
class PatchedAudio:
    """A batch cut into patches: what an objective masks and reconstructs.

    Attributes:
        patches: (batch, num_patches, patch_dim) float32, normalised log-mel, frequency-major.
        padding_mask: (batch, num_patches) bool, True = padding.
        grid: of the patches.
    """

    patches: Tensor
    padding_mask: Tensor
    grid: Grid

    def repeat(self, times: int) -> "PatchedAudio":
        """The whole batch several times, one after the other."""
        return PatchedAudio(
            self.patches.repeat(times, 1, 1), self.padding_mask.repeat(times, 1), self.grid
        )


@dataclass
class AudioEncoderOutput(ModelOutput):
    """What the encoder returns.

    Attributes:
        last_hidden_state: (batch, num_tokens, dim), layer-normed, without the cls token.
        cls: (batch, dim) the cls token, layer-normed.
        padding_mask: (batch, num_tokens) bool, True = padding.
        hidden_states: per block (and the input to the first) (batch, num_tokens, dim), if asked.
    """

    last_hidden_state: Tensor
    # ModelOutput wants a default everywhere but in the first field; these are always there.
    cls: Tensor = None  # type: ignore[assignment]
    padding_mask: Tensor = None  # type: ignore[assignment]
    hidden_states: tuple[Tensor, ...] | None = None


class AudioEncoder(PreTrainedModel):
    """Waveform in, one token per patch out.

    Positions are fixed sines and cosines, so any length up to ``max_seconds`` works without
    interpolation, and what pads a clip in a batch changes nothing of its tokens.

    Source: Dosovitskiy et al. 2021 (ViT), pre-norm; full-band frame patches as in Gong et al. 2022
    (SSAST), section 3.5.
    """

    config: AudioEncoderConfig
    config_class = AudioEncoderConfig
    base_model_prefix = "encoder"
    main_input_name = "waveform"
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]  # noqa: RUF012  as transformers declares it

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__(config)
        front_end = ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels", "f_min", "f_max")
        self.log_mel = LogMel(**{name: getattr(config, name) for name in (*front_end, "floor")})
        # Persistent buffers: the encoder needs no other file, and meta-device loading keeps them.
        self.log_mel_mean: Tensor
        self.log_mel_std: Tensor
        self.register_buffer("log_mel_mean", torch.zeros(config.n_mels))
        self.register_buffer("log_mel_std", torch.ones(config.n_mels))
        patch_dim = config.patch_size[0] * config.patch_size[1]
        self.patch_embedding = nn.Linear(patch_dim, config.hidden_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.blocks = Stack(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AudioEncoder):
            nn.init.normal_(module.cls_token, std=self.config.initializer_range)

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Stores the (n_mels,) constants of the training clips' log-mel."""
        self.log_mel_mean.copy_(mean)
        self.log_mel_std.copy_(std)

    @property
    def patch_samples(self) -> int:
        """Samples that one column of patches spans."""
        return self.config.patch_size[1] * self.config.hop_length

    def normalised_log_mel(self, waveform: Tensor, num_samples: Tensor) -> Tensor:
        """(batch, samples) -> (batch, mel, frames) float32, frames a multiple of the patch's."""
        columns = max(1, -(-waveform.shape[1] // self.patch_samples))
        waveform = functional.pad(waveform, (0, columns * self.patch_samples - waveform.shape[1]))
        log_mel = self.log_mel(waveform, num_samples)
        return (log_mel - self.log_mel_mean[:, None]) / self.log_mel_std[:, None]

    def patch_audio(self, waveform: Tensor, num_samples: Tensor | None = None) -> PatchedAudio:
        """Front end, normalisation, patches.

        Args:
            waveform: (batch, samples) float32 in [-1, 1] at the configuration's sample rate.
            num_samples: (batch,) int64 true lengths; None means that nothing is padding.

        Raises:
            ValueError: another shape, or longer than ``max_seconds``.
        """
        limit = self.config.max_seconds * self.config.sample_rate
        if waveform.ndim == 2 and waveform.shape[1] > limit:
            raise ValueError(
                f"waveform must not exceed {self.config.max_seconds:g} s, got "
                f"{waveform.shape[1] / self.config.sample_rate:.1f} s: use embed(), which windows"
            )
        if num_samples is None:
            num_samples = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        return self.patch_log_mel(self.normalised_log_mel(waveform, num_samples), num_samples)

    def patch_log_mel(self, normalised: Tensor, num_samples: Tensor) -> PatchedAudio:
        """Patches of a spectrogram.

        Args:
            normalised: (batch, mel, frames) float32 from ``normalised_log_mel``.
            num_samples: (batch,) int64 true lengths of the waveforms that it was made from.
        """
        patches, grid = patchify(normalised, self.config.patch_shape)
        frames = self.log_mel.num_frames(num_samples)
        return PatchedAudio(
            patches, patch_padding_mask(frames, grid, self.config.patch_size[1]), grid
        )

    def encode(
        self, audio: PatchedAudio, masked: Masked | None = None, output_hidden_states: bool = False
    ) -> AudioEncoderOutput:
        """Encodes patches, only the visible ones if a mask is given.

        Args:
            audio: from ``patch_audio``.
            masked: which patches are visible; their tokens come in the order of ``ids_keep``.
            output_hidden_states: also return every block's output.
        """
        patches, padding_mask = audio.patches, audio.padding_mask
        positions = grid_positions(audio.grid, self.config.hidden_size, patches.device)
        if masked is not None:
            patches = patches.take_along_dim(masked.ids_keep[:, :, None], dim=1)
            positions = positions[masked.ids_keep]
            padding_mask = masked.keep_padding_mask
        tokens = self.patch_embedding(patches) + positions
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        bias = attention_bias(functional.pad(padding_mask, (1, 0), value=False), tokens.dtype)
        levels = self.blocks(tokens, bias)
        normed = self.norm(levels[-1])
        return AudioEncoderOutput(
            last_hidden_state=normed[:, 1:],
            cls=normed[:, 0],
            padding_mask=padding_mask,
            hidden_states=tuple(level[:, 1:] for level in levels) if output_hidden_states else None,
        )

    def forward(
        self,
        waveform: Tensor,
        num_samples: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> AudioEncoderOutput:
        """Encodes a batch of at most ``max_seconds``; see ``patch_audio`` for the arguments."""
        return self.encode(
            self.patch_audio(waveform, num_samples), output_hidden_states=output_hidden_states
        )

    def encode_windows(
        self, waveform: Tensor, output_hidden_states: bool = False
    ) -> AudioEncoderOutput:
        """Encodes one clip of any length.

        Over ``max_seconds`` the clip is cut into windows of that length that overlap by a sixth,
        and each moment's tokens come from the window in which they lie farther from the edge; the
        cls token is the mean over the windows.

        Args:
            waveform: (samples,) float32.
            output_hidden_states: also return every block's output.

        Returns:
            The same as ``forward`` for a batch of one; nothing in it is padding.
        """
        window = int(self.config.max_seconds * self.config.sample_rate / self.patch_samples)
        overlap = window // 6 // 2 * 2
        columns = max(1, -(-len(waveform) // self.patch_samples))
        pieces: list[tuple[Tensor, ...]] = []
        cls = []
        for start in range(0, max(1, columns - overlap), window - overlap):
            part = waveform[start * self.patch_samples : (start + window) * self.patch_samples]
            audio = self.patch_audio(part[None])
            output = self.encode(audio, output_hidden_states=output_hidden_states)
            first = overlap // 2 if start else 0
            last = None if start + window >= columns else -(overlap // 2)
            levels = (output.last_hidden_state, *(output.hidden_states or ()))
            pieces.append(tuple(_cut_in_time(level, audio.grid, first, last) for level in levels))
            cls.append(output.cls)
        joined = [
            rearrange(torch.cat(parts, dim=1), "freq time dim -> 1 (freq time) dim")
            for parts in zip(*pieces, strict=True)
        ]
        tokens = joined[0]
        return AudioEncoderOutput(
            last_hidden_state=tokens,
            cls=torch.stack(cls).mean(0),
            padding_mask=torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device),
            hidden_states=tuple(joined[1:]) if output_hidden_states else None,
        )

    def pool_clips(
        self,
        waveform: Tensor,
        num_samples: Tensor | None,
        pool: Callable[[AudioEncoderOutput], Tensor],
        output_hidden_states: bool = False,
    ) -> Tensor:
        """One vector per clip of any length, the same in any batch.

        Args:
            waveform: (batch, samples) float32 in [-1, 1].
            num_samples: (batch,) int64 true lengths; None means that nothing is padding.
            pool: from the encoder's output for n clips to (n, size).
            output_hidden_states: ``pool`` is also given every block's output.

        Returns:
            (batch, size); clips over ``max_seconds`` are encoded by themselves, in windows.
        """
        limit = int(self.config.max_seconds * self.config.sample_rate)
        if waveform.shape[1] <= limit:
            return pool(self(waveform, num_samples, output_hidden_states))
        if num_samples is None:
            num_samples = torch.full((len(waveform),), waveform.shape[1])
        lengths = num_samples.tolist()
        short = [row for row, length in enumerate(lengths) if length <= limit]
        vectors: dict[int, Tensor] = {}
        if short:
            pooled = pool(self(waveform[short, :limit], num_samples[short], output_hidden_states))
            vectors = dict(zip(short, pooled, strict=True))
        for row, length in enumerate(lengths):
            if length > limit:
                output = self.encode_windows(waveform[row, :length], output_hidden_states)
                vectors[row] = pool(output)[0]
        return torch.stack([vectors[row] for row in range(len(lengths))])

    @torch.no_grad()
    def embed(self, waveform: Tensor, num_samples: Tensor | None = None) -> Tensor:
        """One vector per clip: the mean over its valid tokens; clips of any length.

        Args:
            waveform: (batch, samples) float32 in [-1, 1].
            num_samples: (batch,) int64 true lengths; None means that nothing is padding.

        Returns:
            (batch, dim) float32, independent of the batch and of its padding.
        """
        return self.pool_clips(
            waveform,
            num_samples,
            lambda output: mean_pool(output.last_hidden_state.float(), output.padding_mask),
        )


def _cut_in_time(tokens: Tensor, grid: Grid, first: int, last: int | None) -> Tensor:
    """(1, num_patches, dim) to (freq_patches, columns, dim) of some columns."""
    parted = rearrange(tokens, "1 (freq time) dim -> freq time dim", freq=grid.freq_patches)
    return parted[:, first:last]


class AudioEncoderFeatureExtractor(SequenceFeatureExtractor):
    """Pads waveforms to a batch; the spectrogram is made inside the model.

    Args:
        sampling_rate: Hz that the encoder wants.
    """

    model_input_names: ClassVar[list[str]] = ["waveform", "num_samples"]

    def __init__(
        self,
        sampling_rate: int = 16_000,
        feature_size: int = 1,
        padding_value: float = 0.0,
        **kwargs: Any,  # what transformers saved beside these
    ) -> None:
        super().__init__(feature_size, sampling_rate, padding_value, **kwargs)

    def __call__(
        self,
        raw_speech: npt.NDArray[np.float32] | list[npt.NDArray[np.float32]],
        sampling_rate: int,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Pads clips with zeros at their end.

        Args:
            raw_speech: one (samples,) array or several, float in [-1, 1].
            sampling_rate: Hz of the clips.
            return_tensors: ``pt``, as transformers' pipelines ask for.

        Returns:
            ``waveform`` (batch, samples) float32 and ``num_samples`` (batch,) int64, torch tensors.

        Raises:
            ValueError: another sample rate, audio that is not mono, or tensors of another kind.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors must be 'pt', got {return_tensors!r}")
        if sampling_rate != self.sampling_rate:
            raise ValueError(f"sampling_rate must be {self.sampling_rate} Hz, got {sampling_rate}")
        clips = [np.asarray(clip, np.float32) for clip in raw_speech]
        if clips and clips[0].ndim == 0:
            clips = [np.asarray(raw_speech, np.float32)]
        if not clips or any(clip.ndim != 1 for clip in clips):
            raise ValueError("raw_speech must be (samples,) arrays: mix to mono")
        num_samples = torch.tensor([len(clip) for clip in clips])
        waveform = torch.zeros(len(clips), int(num_samples.max()))
        for row, clip in zip(waveform, clips, strict=True):
            row[: len(clip)] = torch.from_numpy(clip)
        return BatchFeature({"waveform": waveform, "num_samples": num_samples})
