"""Fine-tuning: a labelled fold, an encoder, a head; the best step is chosen on validation clips."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from finetune.config import FinetuneConfig
from finetune.evaluate import (
    TRAINING_CLIPS,
    compute_clip_metrics,
    predict_clips,
    predictions_frame,
)
from finetune.labels import SingleLabel
from finetune.model import AudioClassifier, AudioClassifierConfig
from finetune.predictions import Predictions, Provenance, collect_genders
from ssl_audio import pictures
from ssl_audio.audit import refuse_leaks
from ssl_audio.build import build_encoder, count_tokens
from ssl_audio.checkpoint import write_folder
from ssl_audio.data.folds import Fold
from ssl_audio.data.manifest import read_manifest, write_manifest
from ssl_audio.data.prepared import PreparedCorpus, fingerprint
from ssl_audio.data.stream import CropStream
from ssl_audio.draws import Stream, uniform
from ssl_audio.encoder import AudioEncoder, AudioEncoderFeatureExtractor
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.loading import check_model_type, load_model
from ssl_audio.masking import random_mask
from ssl_audio.objectives.base import StepOutput, to_float
from ssl_audio.optim import layer_decay_groups
from ssl_audio.pretrain import SEEN_CLIPS
from ssl_audio.run_record import read_run_record, write_run_record
from ssl_audio.session import Session, open_session
from ssl_audio.training import Evaluation, TrainState, train


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


def finetune(config: FinetuneConfig, output: Path, resume: bool = False) -> None:
    """Trains a classifier, keeps its best step on validation, and tests that one once.

    ``output`` gets the model, ``predictions.parquet`` of the test clips, ``run.json``, pictures.

    Raises:
        UserError: data, folder or configuration that does not fit, or a leaking split.
    """
    transformers_logging.disable_progress_bar()
    corpus = PreparedCorpus.load(config.data.corpus)
    folds = corpus.folds(config.data.folds)
    refuse_leaks(corpus.clips, folds, config.data.fold)
    fold = folds.fold(config.data.fold)
    labels = SingleLabel(folds.classes)
    used = [corpus.clips[i] for i in corpus.indices((*fold.train, *fold.validation, *fold.test))]
    encoder_config = config.scratch.build_config()
    if config.encoder:
        check_model_type(config.encoder, AudioEncoderConfig.model_type, "ssl_audio pretrain")
        encoder_config = AudioEncoderConfig.from_pretrained(config.encoder)
    tokens = count_tokens(encoder_config, config.data.crop_seconds)
    session = open_session(
        output,
        resume,
        config,
        config.train,
        f"{fingerprint(used)} {folds.fingerprint}",
        encoder_config,
        tokens,
    )
    torch.manual_seed(config.train.seed)
    classifier = _build_classifier(config, session, corpus, fold, folds.classes, encoder_config)
    state = _train(config, session, classifier, corpus, fold, labels)
    if session.accelerator.is_main_process:
        _finish(config, output, session, state, corpus, fold, labels, folds.protocol)


def _build_classifier(
    config: FinetuneConfig,
    session: Session,
    corpus: PreparedCorpus,
    fold: Fold,
    classes: tuple[str, ...],
    encoder_config: AudioEncoderConfig,
) -> AudioClassifier:
    attention = session.choices["attention"]
    classifier = AudioClassifier(
        AudioClassifierConfig(
            encoder_config=encoder_config.with_attention(attention),
            pooling=config.pooling,
            head_config=config.head.model_dump(),
            classes=list(classes),
        )
    )
    classifier.encoder = (
        load_model(AudioEncoder, config.encoder, attention)
        if config.encoder
        else build_encoder(encoder_config, attention, corpus, corpus.indices(fold.train))
    )
    if config.strategy == "frozen":
        classifier.encoder.requires_grad_(False)
    return classifier


def _train(
    config: FinetuneConfig,
    session: Session,
    classifier: AudioClassifier,
    corpus: PreparedCorpus,
    fold: Fold,
    labels: SingleLabel,
) -> TrainState:
    training, validation = corpus.indices(fold.train), corpus.indices(fold.validation)
    by_clip = np.full(len(corpus), -1, dtype=np.int64)
    by_clip[training] = labels.encode([corpus.clips[index] for index in training])
    stream = LabelledStream(
        corpus, training, config.train.seed, config.data.crop_seconds, labels=by_clip
    )

    def validate() -> dict[str, float]:
        probabilities = predict_clips(classifier, corpus, validation)
        metrics = compute_clip_metrics(corpus, validation, probabilities, labels)
        return {f"validation_{name}": value for name, value in metrics.items()}

    def save_best(step: int) -> None:
        write_folder(session.output / f"best-{step:08d}", classifier.save_pretrained)

    def keep_only(steps: Collection[int]) -> None:
        names = {f"best-{step:08d}" for step in steps}
        for path in session.output.glob("best-*"):
            if path.name not in names:
                shutil.rmtree(path)

    encoder = classifier.encoder
    levels = [
        [*encoder.patch_embedding.parameters(), encoder.cls_token],
        *(list(block.parameters()) for block in encoder.blocks),
    ]
    head = [*encoder.norm.parameters(), *classifier.pooling.parameters()]
    head += list(classifier.head.parameters())
    return train(
        FineTuning(classifier, config.token_drop),
        stream,
        layer_decay_groups(levels, head, config.train.weight_decay, config.chosen_layer_decay),
        config.train,
        session,
        "fine-tune",
        Evaluation(config.evaluate_every, validate, "validation_uar", save_best, keep_only),
    )


def _finish(
    config: FinetuneConfig,
    output: Path,
    session: Session,
    state: TrainState,
    corpus: PreparedCorpus,
    fold: Fold,
    labels: SingleLabel,
    protocol: str,
) -> None:
    """The best step's model, tested once."""
    folder = output / f"best-{state.best_step:08d}"
    best = load_model(AudioClassifier, folder, session.choices["attention"])
    best = best.eval().to(session.accelerator.device)
    best.save_pretrained(output)
    sample_rate = best.encoder.config.sample_rate
    AudioEncoderFeatureExtractor(sample_rate).save_pretrained(output)
    test = corpus.indices(fold.test)
    probabilities = predict_clips(best, corpus, test)
    metrics = compute_clip_metrics(corpus, test, probabilities, labels)
    learnt = [corpus.clips[i] for i in corpus.indices((*fold.train, *fold.validation))]
    write_manifest(learnt, output / TRAINING_CLIPS)
    pool, leak, pool_notes = _pretraining_of(config.encoder, corpus, test)
    cut = (f"budget cut at step {state.step} of {config.train.max_steps}",) if state.cut else ()
    about = Provenance(
        system=config.row_name,
        protocol=protocol,
        classes=labels.classes,
        parameters=best.num_parameters(),
        train_seconds=round(state.seconds, 1),
        pretraining_data=pool,
        leak=leak,
        notes=(*pool_notes, *cut),
        genders=collect_genders((corpus.clips[i].speaker, corpus.clips[i].gender) for i in test),
    )
    frame = predictions_frame(
        corpus, test, probabilities, labels, config.data.fold, config.train.seed
    )
    Predictions(about, frame).save(output / "predictions.parquet")
    pictures.draw_loss_curve(output)
    write_run_record(
        output,
        command="finetune train",
        config=config,
        seed=config.train.seed,
        device=str(session.accelerator.device),
        choices=session.choices,
        data_fingerprint=session.identity["data_fingerprint"],
        wall_seconds=state.seconds,
        metrics={
            "best_step": state.best_step,
            "best_validation_uar": state.best_value,
            **{f"test_{name}": value for name, value in metrics.items()},
        },
        details={
            "protocol": protocol,
            "system": about.system,
            "budget_cut": state.cut,
            "num_processes": session.accelerator.num_processes,
        },
    )
    print(
        f"{about.system}: best step {state.best_step}, validation UAR {state.best_value:.3f}; "
        f"test UAR {metrics['uar']:.3f} on {len(test)} clips of fold {config.data.fold}"
    )


def _pretraining_of(
    encoder: Path | None, corpus: PreparedCorpus, test: npt.NDArray[np.int64]
) -> tuple[str, str, tuple[str, ...]]:
    """Pool, leak and notes of the encoder: did it see these test clips, whatever it declares?"""
    if encoder is None:
        return "", "", ()
    if not (encoder / SEEN_CLIPS).is_file():
        return "unknown", "", ("what the encoder was pretrained on is not known",)
    record = read_run_record(encoder)
    seen = {clip.audio_sha256 for clip in read_manifest(encoder / SEEN_CLIPS)}
    num_seen = sum(corpus.clips[index].audio_sha256 in seen for index in test)
    notes = ("pretraining's budget was cut",) if record["budget_cut"] else ()
    return str(record["pretraining_data"]), "transductive" if num_seen else "", notes
