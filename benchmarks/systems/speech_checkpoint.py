"""Which speech encoder of transformers a row starts from: found on this disk, or random weights."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from benchmarks.systems.speech_features import build_random, load_encoder, weight_files
from ssl_audio.checkpoint import file_sha256
from ssl_audio.config import Config
from ssl_audio.errors import UserError

POOLS = {
    "facebook/data2vec-audio-base": "LibriSpeech 960 h",
    "facebook/hubert-base-ls960": "LibriSpeech 960 h",
    "facebook/wav2vec2-base": "LibriSpeech 960 h",
    "microsoft/wavlm-base": "LibriSpeech 960 h",
    "microsoft/wavlm-large": "Libri-Light, GigaSpeech and VoxPopuli, 94 000 h",
}
"""What published encoders learnt from without labels, as their papers say."""


class RandomShape(Config):
    """A wav2vec2 encoder with random weights, where there are no others; the default is small."""

    hidden_size: int = Field(default=64, gt=0, multiple_of=16)
    """In as many groups as the convolution that tells positions apart has, and in heads."""
    num_layers: int = Field(default=4, gt=0)
    num_heads: int = Field(default=4, gt=0)
    conv_dim: int = Field(default=64, gt=0)

    @model_validator(mode="after")
    def _give_each_head_as_much(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_heads, which is {self.num_heads}"
            )
        return self

    @property
    def options(self) -> dict[str, int]:
        """As ``build_random`` calls them."""
        return {
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "conv_dim": self.conv_dim,
        }


class EncoderChoice(Config):
    """Where an encoder's weights come from.

    Attributes:
        encoder: name on Hugging Face, read from the local cache and never downloaded, or a folder.
        pretrained: ``auto`` takes random weights where there are none of that name; true insists.
        random: shape of the encoder with random weights.
    """

    encoder: str = "facebook/wav2vec2-base"
    pretrained: Literal["auto"] | bool = "auto"
    random: RandomShape = RandomShape()


class SpeechCheckpoint:
    """What a choice means here and now.

    Args:
        choice: of a row's settings.
    """

    def __init__(self, choice: EncoderChoice) -> None:
        self.choice = choice
        self.folder = find_encoder(choice)
        """With configuration and weights; None where these are random."""

    @cached_property
    def sha256(self) -> str:
        """Of the weights; empty where they are random."""
        return hash_weights(self.folder) if self.folder else ""

    def load(self, device: str) -> tuple[Any, Any]:
        """Model in eval mode and feature extractor, shared by all who load them: change a copy.

        Args:
            device: of torch.

        Raises:
            UserError: see ``load_encoder``.
        """
        if self.folder:
            return load_encoder(str(self.folder), self.sha256, device)
        return build_random(**self.choice.random.options, device=device)

    def check(self) -> None:
        """The encoder can be loaded, or random weights were asked for or are good enough.

        Raises:
            UserError: with what is missing.
        """
        encoder = self.choice.encoder
        if self.folder is not None:
            self.load("cpu")
        elif Path(encoder).is_dir() and self.choice.pretrained is not False:
            raise UserError(f"encoder: {encoder} holds no config.json with weights")
        elif self.choice.pretrained is True:
            raise UserError(
                f"encoder: {encoder} is not in the local cache, and nothing is downloaded "
                f"unasked: run hf download {encoder}, name a folder, or take "
                "pretrained: auto"
            )

    def describe(self, use: str) -> str:
        """What a row's name says of it: which encoder, what is done with it, random or not."""
        if self.folder:
            return f", {Path(self.choice.encoder).name}, {use}"
        shape = self.choice.random
        size = f"{shape.num_layers} x {shape.hidden_size}"
        return f", wav2vec2 of {size}, {use}, random weights"

    @property
    def pretraining_data(self) -> str:
        """The encoder's pool, where it is known; empty where weights are random."""
        return POOLS.get(self.choice.encoder, "unknown") if self.folder else ""

    @property
    def weights(self) -> str:
        """By name and sha256; empty where they are random."""
        return f"{Path(self.choice.encoder).name} {self.sha256}" if self.folder else ""


def find_encoder(choice: EncoderChoice) -> Path | None:
    """The folder with configuration and weights; None where they are to be random."""
    from huggingface_hub import try_to_load_from_cache

    if choice.pretrained is False:
        return None
    folder = Path(choice.encoder)
    if not folder.is_dir():
        cached = try_to_load_from_cache(choice.encoder, "config.json")
        folder = Path(cached).parent if isinstance(cached, str) else folder
    whole = (folder / "config.json").is_file() and weight_files(folder)
    return folder if whole else None


def hash_weights(folder: Path) -> str:
    """sha256 of a checkpoint's file of weights; of several, of their hashes."""
    hashes = [file_sha256(file) for file in weight_files(folder)]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
