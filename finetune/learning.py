"""Learning a classifier from labelled clips; the best step is chosen on validation clips."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from finetune.config import ClassifierConfig
from finetune.evaluate import compute_clip_metrics, predict_clips
from finetune.labels import SingleLabel
from finetune.model import AudioClassifier, AudioClassifierConfig
from ssl_audio.build import build_encoder
from ssl_audio.checkpoint import write_folder
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import CropStream
from ssl_audio.draws import Stream, uniform
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.loading import check_model_type, load_model
from ssl_audio.masking import random_mask
from ssl_audio.measuring import Evaluation
from ssl_audio.objectives.base import StepOutput, to_float
from ssl_audio.optim import layer_decay_groups
from ssl_audio.session import Session
from ssl_audio.train_state import TrainState
from ssl_audio.training import train


@dataclass(frozen=True)
class LabelledStream(CropStream):
    """Crops with their labels.

    Attributes:
        labels: (clips of the corpus,) int64; only those of ``indices`` are read.
    """

    labels: npt.NDArray[np.int64]

    def __getitems__(self, draws: Sequence[int]) -> dict[str, Tensor]:
        """A ``Batch`` with ``labels`` (batch,) int64."""
        batch = super().__getitems__(draws)
        return {**batch, "labels": torch.from_numpy(self.labels[batch["clip_indices"].numpy()])}


class FineTuning(nn.Module):
    """What the training loop sees: a labelled batch in, a loss out."""

    def __init__(self, classifier: AudioClassifier, token_drop: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.token_drop = token_drop

    def forward(self, batch: dict[str, Tensor]) -> StepOutput:
        """Loss and accuracy of one batch, some of each clip's tokens hidden."""
        audio = self.classifier.encoder.patch_audio(
            to_float(batch["waveform"]), batch["num_samples"]
        )
        noise = uniform(batch["keys"], Stream.MASK, audio.grid.num_patches)
        masked = random_mask(noise, self.token_drop, audio.padding_mask)
        logits = self.classifier.classify_patches(audio, masked)
        accuracy = (logits.argmax(1) == batch["labels"]).float().mean()
        loss = self.classifier.head.compute_loss(logits, batch["labels"])
        return StepOutput(loss, {"training_accuracy": accuracy.detach()})


@dataclass(frozen=True)
class Material:
    """What a classifier learns from and is chosen by.

    Attributes:
        corpus: prepared, on disk or in memory.
        training: (clips,) int64 positions in the corpus.
        validation: the same, of other speakers.
        labels: the classes.
    """

    corpus: PreparedCorpus
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    labels: SingleLabel


def read_encoder_config(config: ClassifierConfig) -> AudioEncoderConfig:
    """Shape of the encoder that training starts from.

    Raises:
        UserError: the folder holds another kind of model, or none.
    """
    if config.encoder is None:
        return config.scratch.build_config()
    check_model_type(config.encoder, AudioEncoderConfig.model_type, "ssl_audio pretrain")
    return AudioEncoderConfig.from_pretrained(config.encoder)


def learn(
    config: ClassifierConfig, crop_seconds: float, session: Session, material: Material
) -> TrainState:
    """Builds a classifier and trains it; its best step goes below the session's folder.

    Args:
        config: of classifier and training.
        crop_seconds: of a training clip.
        session: from ``open_session``; goes on from its checkpoint if it has one.
        material: labelled clips.
    """
    torch.manual_seed(config.train.seed)
    classifier = _build_classifier(config, session, material)
    corpus, labels = material.corpus, material.labels
    by_clip = np.full(len(corpus), -1, dtype=np.int64)
    by_clip[material.training] = labels.encode([corpus.clips[i] for i in material.training])
    stream = LabelledStream(
        corpus, material.training, config.train.seed, crop_seconds, labels=by_clip
    )
    return train(
        FineTuning(classifier, config.token_drop),
        stream,
        _parameter_groups(config, classifier),
        config.train,
        session,
        "fine-tune",
        _evaluation(config, session, classifier, material),
    )


def load_best(session: Session, state: TrainState) -> AudioClassifier:
    """The classifier at the best step, in eval mode, on the session's device."""
    folder = session.output / f"best-{state.best_step:08d}"
    best = load_model(AudioClassifier, folder, session.choices["attention"])
    return best.eval().to(session.accelerator.device)


def _build_classifier(
    config: ClassifierConfig, session: Session, material: Material
) -> AudioClassifier:
    attention = session.choices["attention"]
    encoder_config = read_encoder_config(config)
    classifier = AudioClassifier(
        AudioClassifierConfig(
            encoder_config=encoder_config.with_attention(attention),
            pooling=config.pooling,
            head_config=config.head.model_dump(),
            classes=list(material.labels.classes),
        )
    )
    classifier.encoder = (
        load_model(AudioEncoder, config.encoder, attention)
        if config.encoder
        else build_encoder(encoder_config, attention, material.corpus, material.training)
    )
    if config.strategy == "frozen":
        classifier.encoder.requires_grad_(False)
    return classifier


def _parameter_groups(config: ClassifierConfig, classifier: AudioClassifier) -> list[dict]:
    encoder = classifier.encoder
    levels = [
        [*encoder.patch_embedding.parameters(), encoder.cls_token],
        *(list(block.parameters()) for block in encoder.blocks),
    ]
    head = [*encoder.norm.parameters(), *classifier.pooling.parameters()]
    head += list(classifier.head.parameters())
    return layer_decay_groups(levels, head, config.train.weight_decay, config.chosen_layer_decay)


def _evaluation(
    config: ClassifierConfig, session: Session, classifier: AudioClassifier, material: Material
) -> Evaluation:
    corpus, validation = material.corpus, material.validation

    def validate() -> dict[str, float]:
        probabilities = predict_clips(classifier, corpus, validation)
        metrics = compute_clip_metrics(corpus, validation, probabilities, material.labels)
        return {f"validation_{name}": value for name, value in metrics.items()}

    def save_best(step: int) -> None:
        write_folder(session.output / f"best-{step:08d}", classifier.save_pretrained)

    def keep_only(steps: Collection[int]) -> None:
        names = {f"best-{step:08d}" for step in steps}
        for path in session.output.glob("best-*"):
            if path.name not in names:
                shutil.rmtree(path)

    return Evaluation(config.evaluate_every, validate, "validation_uar", save_best, keep_only)
