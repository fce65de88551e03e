"""AudioEncoder: a transformer over spectrogram patches, with its front end inside."""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from transformers import BatchFeature, PreTrainedConfig, PreTrainedModel, SequenceFeatureExtractor
from transformers.utils import ModelOutput

from ssl_audio.features import LogMel
from ssl_audio.masking import Masked
from ssl_audio.patches import Grid, grid_positions, patch_padding_mask, patchify
from ssl_audio.pooling import mean_pool

Size = Literal["tiny", "small", "base"]
SIZES: dict[Size, dict[str, int]] = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}
"""Width and depth of ViT-tiny, small and base: 5, 21 and 85 million weights."""

# What transformers itself passes to a configuration beside its fields.
_KNOWN_TO_TRANSFORMERS = frozenset(
    {"attn_implementation", "name_or_path", "model_type", "torch_dtype", "output_attentions"}
    | {"_commit_hash", "_attn_implementation_internal", "_experts_implementation_internal"}
    | {"experts_implementation", "num_labels"}
)


class AudioEncoderConfig(PreTrainedConfig):
    """Shape of an encoder and of its front end; an unknown key is an error.

    Attributes:
        hidden_size: width of a token.
        num_hidden_layers: transformer blocks.
        num_attention_heads: heads of each.
        mlp_ratio: width of a block's feed-forward part over ``hidden_size``.
        patch_size: (mel, frames) of a patch; (64, 4) is full-band, 40 ms a token.
        max_seconds: longest clip of one forward pass.
        sample_rate, n_fft, win_length, hop_length, n_mels, f_min, f_max, floor: see ``LogMel``.
    """

    model_type = "ssl_audio_encoder"

    hidden_size: int = 192
    num_hidden_layers: int = 12
    num_attention_heads: int = 3
    mlp_ratio: int = 4
    patch_size: tuple[int, int] | list[int] = (64, 4)
    max_seconds: float = 30.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-6
    sample_rate: int = 16_000
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 64
    f_min: float = 50.0
    f_max: float = 8000.0
    floor: float = 1e-6

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - _KNOWN_TO_TRANSFORMERS)
        if unknown:
            raise ValueError(f"AudioEncoderConfig knows no {', '.join(unknown)}")
        super().__post_init__(**kwargs)
        if len(self.patch_size) != 2 or self.n_mels % self.patch_size[0]:
            raise ValueError(
                f"patch_size must be (mel, frames) with mel dividing n_mels = {self.n_mels}, "
                f"got {self.patch_size}"
            )
        self.patch_size = (self.patch_size[0], self.patch_size[1])  # JSON gives a list
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                f"hidden_size must be a multiple of 2 x num_attention_heads = "
                f"{2 * self.num_attention_heads}, got {self.hidden_size}"
            )

    @property
    def patch_shape(self) -> tuple[int, int]:
        """``patch_size`` as a pair."""
        return self.patch_size[0], self.patch_size[1]

    @classmethod
    def of_size(cls, size: Size, **changes: Any) -> "AudioEncoderConfig":
        """The configuration of a named size, with changes."""
        return cls(**{**SIZES[size], **changes})

    def with_attention(self, form: str) -> "AudioEncoderConfig":
        """A copy that uses this form of attention, ``eager`` or ``sdpa``."""
        changed = copy.deepcopy(self)
        changed._attn_implementation = form
        return changed


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


class Attention(nn.Module):
    """Multi-head self-attention in the form that ``config._attn_implementation`` names."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """(batch, tokens, dim), additive (batch, 1, 1, tokens) bias -> (batch, tokens, dim)."""
        query, key, value = rearrange(
            self.qkv(tokens),
            "batch token (three head dim) -> three batch head token dim",
            three=3,
            head=self.num_heads,
        )
        if self.config._attn_implementation == "sdpa":
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        else:
            scores = (query * query.shape[-1] ** -0.5) @ key.mT
            mixed = (scores if bias is None else scores + bias).softmax(-1) @ value
        return self.output(rearrange(mixed, "batch head token dim -> batch token (head dim)"))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.attention_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(dim, config.mlp_ratio * dim),
            nn.GELU(),
            nn.Linear(config.mlp_ratio * dim, dim),
        )

    def forward(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """(batch, tokens, dim) -> the same shape."""
        tokens = tokens + self.attention(self.attention_norm(tokens), bias)
        return tokens + self.mlp(self.mlp_norm(tokens))


def attention_bias(padding_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, tokens) bool -> additive (batch, 1, 1, tokens): 0 where valid, -inf at padding."""
    bias = torch.zeros(padding_mask.shape, dtype=dtype, device=padding_mask.device)
    return bias.masked_fill(padding_mask, -torch.inf)[:, None, None, :]


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
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
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
        normalised = self.normalised_log_mel(waveform, num_samples)
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
        levels = [tokens]
        for block in self.blocks:
            levels.append(block(levels[-1], bias))
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

    def frame_embeddings(self, waveform: Tensor) -> Tensor:
        """Tokens over time of one clip of any length.

        Over ``max_seconds`` the clip is cut into windows of that length that overlap by a sixth,
        and each moment's token comes from the window in which it lies farther from the edge.

        Args:
            waveform: (samples,) float32.

        Returns:
            (time_patches, dim); patches of one time are averaged over frequency.
        """
        window = int(self.config.max_seconds * self.config.sample_rate / self.patch_samples)
        overlap = window // 6 // 2 * 2
        columns = max(1, -(-len(waveform) // self.patch_samples))
        pieces = []
        for start in range(0, max(1, columns - overlap), window - overlap):
            part = waveform[start * self.patch_samples : (start + window) * self.patch_samples]
            audio = self.patch_audio(part[None])
            tokens = self.encode(audio).last_hidden_state
            tokens = rearrange(
                tokens, "1 (freq time) dim -> freq time dim", freq=audio.grid.freq_patches
            ).mean(0)
            is_last = start + window >= columns
            pieces.append(
                tokens[overlap // 2 if start else 0 : None if is_last else -(overlap // 2)]
            )
        return torch.cat(pieces)

    @torch.no_grad()
    def embed(self, waveform: Tensor, num_samples: Tensor | None = None) -> Tensor:
        """One vector per clip: the mean over its valid tokens; clips of any length.

        Args:
            waveform: (batch, samples) float32 in [-1, 1].
            num_samples: (batch,) int64 true lengths; None means that nothing is padding.

        Returns:
            (batch, dim) float32, independent of the batch and of its padding.
        """
        if waveform.shape[1] <= self.config.max_seconds * self.config.sample_rate:
            output = self(waveform, num_samples)
            return mean_pool(output.last_hidden_state.float(), output.padding_mask)
        lengths = [waveform.shape[1]] * len(waveform) if num_samples is None else num_samples
        clips = zip(waveform, lengths, strict=True)
        return torch.stack(
            [self.frame_embeddings(clip[: int(n)]).float().mean(0) for clip, n in clips]
        )


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
    ) -> BatchFeature:
        """Pads clips with zeros at their end.

        Args:
            raw_speech: one (samples,) array or several, float in [-1, 1].
            sampling_rate: Hz of the clips.

        Returns:
            ``waveform`` (batch, samples) float32 and ``num_samples`` (batch,) int64, torch tensors.

        Raises:
            ValueError: another sample rate, or audio that is not mono.
        """
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
