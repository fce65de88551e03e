"""Which weights of a classifier learn, how fast, and what they start from."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from finetune.config import (
    ClassifierConfig,
    FullConfig,
    LearningConfig,
    LoraConfig,
    StrategyConfig,
)
from finetune.heads import Head
from finetune.model import AudioClassifier
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import whole_clips
from ssl_audio.errors import UserError
from ssl_audio.measuring import FirstLook
from ssl_audio.objectives.base import to_float
from ssl_audio.optim import layer_decay_groups
from ssl_audio.probes import build_regression

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Classifier = TypeVar("Classifier", bound=nn.Module)


def choose_learning_weights(classifier: AudioClassifier, config: ClassifierConfig) -> None:
    """Leaves gradients to the weights that the strategy trains and the head's level depends on."""
    if config.strategy.kind == "frozen":
        classifier.encoder.requires_grad_(False)
        return
    if isinstance(config.strategy, LoraConfig):
        add_lora(classifier.encoder, config.strategy)
    level = classifier.config.level
    if level != "last":
        classifier.encoder.norm.requires_grad_(False)
    if isinstance(level, int):
        classifier.encoder.blocks[level:].requires_grad_(False)


def add_lora(
    encoder: nn.Module, config: LoraConfig, targets: str = r".*\.attention\.(qkv|output)"
) -> None:
    """Puts low-rank changes beside linear layers; only these learn.

    Args:
        encoder: that is changed.
        config: of the changes.
        targets: pattern of the linear layers' whole names; by default those of attention in ours.

    Raises:
        UserError: peft is not installed.
    """
    peft = import_peft()
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
    )
    peft.inject_adapter_in_model(settings, encoder)


def import_peft() -> Any:
    """The package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import peft
    except ImportError:
        raise UserError("strategy lora needs peft: pip install 'ssl-audio[lora]'") from None
    return peft


def without_lora(classifier: AudioClassifier) -> AudioClassifier:
    """The same classifier as a plain one: a copy with the changes merged into the weights."""
    from peft.tuners.lora import LoraLayer

    plain = copy.deepcopy(classifier).requires_grad_(True)
    for name, module in list(plain.encoder.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            plain.encoder.set_submodule(name, module.get_base_layer())
    return plain


def group_parameters(config: ClassifierConfig, classifier: AudioClassifier) -> list[dict[str, Any]]:
    """Groups for the optimizer: the rate falls from the head down; see ``optim``.

    Down from the level that the head reads: blocks above it learn nothing.
    """
    encoder = classifier.encoder
    level = classifier.config.level
    levels = [
        [*encoder.patch_embedding.parameters(), encoder.cls_token],
        *(list(block.parameters()) for block in encoder.blocks),
    ][: level + 1 if isinstance(level, int) else None]
    above = (encoder.norm, classifier.pooling, classifier.mixture, classifier.combination)
    head = [weight for part in above if part is not None for weight in part.parameters()]
    head += list(classifier.head.parameters())
    return layer_decay_groups(levels, head, config.train.weight_decay, config.layer_decay)


class WeightAverage(nn.Module, Generic[Classifier]):
    """A moving average of a classifier's weights, which is what is judged and kept.

    Args:
        classifier: that learns.
        share: time constant, as a share of the run; shorter at its start, so that the first weights
            are soon forgotten.

    Source: Tarvainen and Valpola 2017, "Mean teachers are better role models", section 2.
    """

    average: Classifier

    def __init__(self, classifier: Classifier, share: float) -> None:
        super().__init__()
        self.average = copy.deepcopy(classifier).requires_grad_(False)
        self.share = share

    @torch.no_grad()
    def follow(self, classifier: Classifier, step: int, max_steps: int) -> None:
        """Moves towards the weights of after the ``step``-th step."""
        decay = max(0.0, 1 - 1 / (self.share * max_steps))
        decay = min(decay, (1 + step) / (10 + step))
        here, there = self.average.state_dict(), classifier.state_dict()
        for name, value in here.items():
            if value.is_floating_point():
                value.lerp_(there[name], 1 - decay)
            else:
                value.copy_(there[name])


def build_average(
    classifier: AudioClassifier, config: ClassifierConfig
) -> WeightAverage[AudioClassifier] | None:
    """What the strategy asks for."""
    strategy = config.strategy
    if isinstance(strategy, FullConfig) and strategy.average_share:
        return WeightAverage(classifier, strategy.average_share)
    return None


@torch.no_grad()
def embed_judged(
    classifier: AudioClassifier, corpus: PreparedCorpus, indices: Indices, batch_size: int = 16
) -> tuple[Floats, Indices]:
    """What the head reads of clips: of each the whole, or its windows if it is judged by them.

    Returns:
        (judged, dim) float32 embeddings, clip after clip in the order of ``indices``, and (judged,)
        int64, the place in ``indices`` of the clip that each is of.
    """
    device = next(classifier.parameters()).device
    place = {index: row for row, index in enumerate(indices.tolist())}
    found: list[Floats] = [np.empty(0, np.float32)] * len(indices)
    was_training = classifier.training
    classifier.eval()
    for clips, waveform, num_samples in whole_clips(corpus, indices, batch_size):
        vectors, of_clip = classifier.embed_judged(
            to_float(waveform.to(device)), num_samples.to(device)
        )
        for row, clip in enumerate(clips.tolist()):
            found[place[clip]] = vectors[of_clip == row].float().cpu().numpy()
    classifier.train(was_training)
    return np.concatenate(found), np.repeat(np.arange(len(found)), [len(part) for part in found])


def fit_head(
    head: Head, embeddings: Floats, targets: Floats, of_clip: Indices | None = None
) -> None:
    """Gives a head the weights of linear probes, and their standardisation to its norm.

    Windows have the targets of their clip; all those of a clip together weigh what one clip does.

    Args:
        head: of any kind.
        embeddings: (judged, dim) float32.
        targets: (clips, classes) float32; a clip of several answers teaches each of them with its
            share.
        of_clip: (judged,) int64, the row of ``targets`` that each is told by; None: its own.

    Source: for windows, Carbonneau et al. 2018, "Multiple instance learning: A survey", section 3
    (single-instance learning).
    """
    if of_clip is None:
        of_clip = np.arange(len(targets))
    shares = 1 / np.bincount(of_clip)[of_clip]
    scaler = StandardScaler().fit(embeddings, sample_weight=shares)
    standardised = scaler.transform(embeddings)
    parts = [
        _fit_probe(standardised, answers[of_clip], outputs, shares)
        for answers, outputs in head.ask(targets.astype(np.float64))
    ]
    weights = np.concatenate(parts)
    with torch.no_grad():
        statistics = {"running_mean": scaler.mean_, "running_var": scaler.scale_**2 - head.norm.eps}
        for name, values in statistics.items():
            head.norm.get_buffer(name).copy_(torch.from_numpy(values))
        head.linear.weight.copy_(torch.from_numpy(weights[:, :-1]))
        head.linear.bias.copy_(torch.from_numpy(weights[:, -1]))


def look_at_probe(
    strategy: StrategyConfig,
    heads: Sequence[nn.Module],
    fresh: dict[str, Tensor],
    is_beaten: Callable[[], bool],
) -> FirstLook | None:
    """What keeps training from ending below the probe that it could have stayed.

    Args:
        strategy: that takes steps.
        heads: fitted ones, of what learns and of what is judged.
        fresh: their state before, from which they learn unless they go on from the probe.
        is_beaten: see ``FirstLook``.
    """
    if not (isinstance(strategy, LearningConfig) and strategy.keep_probe):
        return None
    if strategy.fits_head:
        return FirstLook(is_beaten)

    def leave() -> None:
        for head in heads:
            head.load_state_dict(fresh)

    return FirstLook(is_beaten, leave)


def _fit_probe(
    embeddings: Floats, shares: Doubles, num_outputs: int, sample_weight: Doubles
) -> Floats:
    """(num_outputs, dim + 1) weights and, last, the constant; one output is the logit of 1.

    A clip counts for each of its answers with its (clips, answers) share. An answer that no clip
    has gets a constant that makes it improbable.
    """
    rows, answers = np.nonzero(shares)
    embeddings, sample_weight = embeddings[rows], sample_weight[rows] * shares[rows, answers]
    weights = np.zeros((num_outputs, embeddings.shape[1] + 1), np.float32)
    weights[:, -1] = -_IMPROBABLE
    present = np.unique(answers)
    if len(present) == 1:
        if num_outputs > 1 or present[0]:
            weights[present[0] if num_outputs > 1 else 0, -1] = _IMPROBABLE
        return weights
    probe = build_regression().fit(embeddings, answers, sample_weight)
    fitted = np.concatenate([probe.coef_, probe.intercept_[:, None]], axis=1)
    if num_outputs == 1:
        return fitted
    # Of two answers one row tells the difference of both logits.
    weights[present] = fitted if len(fitted) > 1 else np.concatenate([-fitted, fitted]) / 2
    return weights


_IMPROBABLE = 10.0
"""Logit."""
