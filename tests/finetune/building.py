"""Small classifiers with random weights."""

import torch
from torch import Tensor

from finetune.labels import GENDERS
from finetune.model import AudioClassifier, AudioClassifierConfig
from ssl_audio.encoder_config import AudioEncoderConfig
from tests.finetune.configuring import CLASSES


def build_classifier(max_seconds: float = 30.0, **changes: object) -> AudioClassifier:
    """Three blocks; ``changes`` are of its configuration."""
    torch.manual_seed(0)
    shape = AudioEncoderConfig(
        hidden_size=48, num_attention_heads=2, num_hidden_layers=3, max_seconds=max_seconds
    ).with_attention("eager")
    config = AudioClassifierConfig(**{"encoder_config": shape, "classes": CLASSES, **changes})
    classifier = AudioClassifier(config).eval()
    classifier.encoder.set_normalisation(torch.full((64,), -6.0), torch.full((64,), 3.0))
    return classifier


def marginals(joint: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, 2 x emotions) joint probabilities to (batch, 2) genders and (batch, emotions)."""
    pairs = torch.unflatten(joint, 1, (len(GENDERS), -1))
    return pairs.sum(2), pairs.sum(1)
