"""AudioEncoderConfig: the shape of an encoder and of its front end."""

import copy
from collections.abc import Iterable
from typing import Any, Literal

from transformers import PreTrainedConfig

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


def refuse_unknown_keys(name: str, keys: Iterable[str]) -> None:
    """A misspelt key would stay as an attribute that nobody reads.

    Raises:
        ValueError: a key that is neither a field nor transformers' own.
    """
    unknown = sorted(set(keys) - _KNOWN_TO_TRANSFORMERS)
    if unknown:
        raise ValueError(f"{name} knows no {', '.join(unknown)}")


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
        refuse_unknown_keys("AudioEncoderConfig", kwargs)
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
