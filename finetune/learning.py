"""Learning a classifier from labelled clips; the best step is chosen on validation clips."""

import copy
import math
import shutil
import time
from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn

from finetune.augmentation import change_waveform, mask_spectrogram
from finetune.config import ClassifierConfig
from finetune.evaluate import predict_clips, score_clips
from finetune.labels import Shares, gender_groups
from finetune.levels import LevelName
from finetune.looks import Looks
from finetune.material import Material
from finetune.mixing import MIXINGS
from finetune.model import AudioClassifier, AudioClassifierConfig
from finetune.sampling import BalancedStream, LabelledStream
from finetune.strategies import (
    build_average,
    choose_learning_weights,
    embed_judged,
    fit_head,
    group_parameters,
    look_at_probe,
    without_lora,
)
from finetune.trust import calibrate
from ssl_audio.build import build_encoder
from ssl_audio.checkpoint import write_folder
from ssl_audio.draws import Stream, uniform, view_keys
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import UserError
from ssl_audio.loading import check_model_type, load_model
from ssl_audio.masking import random_mask
from ssl_audio.measuring import Evaluation
from ssl_audio.objectives.base import StepOutput, to_float
from ssl_audio.probes import embed_levels, score_between
from ssl_audio.session import Session
from ssl_audio.train_state import TrainState
from ssl_audio.training import train


class FineTuning(nn.Module):
    """What the training loop sees: a labelled batch in, a loss out.

    Args:
        classifier: that learns.
        config: what is done to its clips.
        class_counts: (classes,) float32 training clips of each.
    """

    def __init__(
        self, classifier: AudioClassifier, config: ClassifierConfig, class_counts: Tensor
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.config = config
        self.average = build_average(classifier, config)
        self.loss = classifier.head.build_loss(class_counts)
        self.mixing = MIXINGS[config.mixing.kind](config.mixing) if config.mixing else None

    @property
    def judged(self) -> AudioClassifier:
        """What is validated and kept: the classifier, or the average of its weights."""
        return self.average.average if self.average else self.classifier

    def train(self, mode: bool = True) -> "FineTuning":
        """As ever, but a head that was fitted first keeps its standardisation."""
        super().train(mode)
        if self.config.strategy.fits_head:
            self.classifier.head.norm.eval()
        if self.average:
            self.average.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> StepOutput:
        """Loss and accuracy of one batch, changed and some of each clip's tokens hidden."""
        keys, targets = batch["keys"], batch["targets"]
        waveform, num_samples = change_waveform(
            to_float(batch["waveform"]), batch["num_samples"], keys, self.config.augment
        )
        windows = None
        if self.classifier.windows:
            windows = self.classifier.cut(waveform, num_samples, self.classifier.windows)
            waveform, num_samples = windows.waveform, windows.num_samples
            keys = view_keys(keys[windows.clip] + windows.place, int(Stream.WINDOW))
        encoder = self.classifier.encoder
        log_mel = encoder.normalised_log_mel(waveform, num_samples)
        num_frames = encoder.log_mel.num_frames(num_samples)
        log_mel = mask_spectrogram(log_mel, num_frames, keys, self.config.augment)
        if self.mixing:
            mixed = self.mixing.mix(log_mel, num_frames, targets, keys, batch["groups"])
            log_mel, targets = mixed
        audio = encoder.patch_log_mel(log_mel, num_samples)
        noise = uniform(keys, Stream.MASK, audio.grid.num_patches)
        masked = random_mask(noise, self.config.token_drop, audio.padding_mask)
        embedding = self.classifier.embed_patches(audio, masked)
        logits = self.classifier.judge(embedding, windows)
        if self.classifier.head.exclusive:
            right = logits.argmax(1) == targets.argmax(1)
        else:
            right = (logits > 0) == (targets > 0.5)
        accuracy = right.float().mean()
        return StepOutput(self.loss(logits, targets), {"training_accuracy": accuracy.detach()})

    def after_step(self, step: int, max_steps: int) -> None:
        """Lets the average follow."""
        if self.average:
            self.average.follow(self.classifier, step, max_steps)


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
    config: ClassifierConfig, crop_seconds: float | None, session: Session, material: Material
) -> TrainState:
    """Builds a classifier and trains it; its best step goes below the session's folder.

    Args:
        config: of classifier and training.
        crop_seconds: of a training clip; None takes whole ones.
        session: from ``open_session``; goes on from its checkpoint if it has one.
        material: labelled clips.
    """
    started = time.monotonic()
    torch.manual_seed(config.train.seed)
    classifier = _build_classifier(config, session, material)
    targets = material.targets
    fresh = copy.deepcopy(classifier.head.state_dict())
    if config.begins_as_probe and session.checkpoint is None:
        embeddings, of_clip = embed_judged(classifier, material.corpus, material.training)
        fit_head(classifier.head, embeddings, targets, of_clip)
    if config.strategy.kind == "probe":
        return _keep_probe(session, classifier, material, started)
    choose_learning_weights(classifier, config)
    module = FineTuning(classifier, config, torch.from_numpy(targets.sum(0)))
    spent = time.monotonic() - started
    state = train(
        module,
        _build_stream(config, crop_seconds, material, targets),
        group_parameters(config, classifier),
        config.train,
        session,
        "fine-tune",
        _evaluation(config, session, module, material, fresh),
        module.after_step,
    )
    state.seconds += spent  # fitting the head is part of what a model costs
    return state


def load_best(
    session: Session, state: TrainState, config: ClassifierConfig, material: Material
) -> AudioClassifier:
    """The classifier at the best step, calibrated, in eval mode, on the session's device."""
    folder = session.output / f"best-{state.best_step:08d}"
    best = load_model(AudioClassifier, folder, session.choices["attention"])
    best.eval().to(session.accelerator.device)
    best.config.timeline = config.timeline.model_dump()  # it may have changed since that step
    calibrate(best, material.corpus, material.validation, material.labels, config.wanted_accuracy)
    return best


def _build_stream(
    config: ClassifierConfig, crop_seconds: float | None, material: Material, targets: Shares
) -> LabelledStream:
    corpus = material.corpus
    by_clip = np.zeros((len(corpus), targets.shape[1]), np.float32)
    by_clip[material.training] = targets
    groups = np.zeros(len(corpus), np.int64)
    if material.task == "gender-emotion":
        groups[material.training] = gender_groups(targets, material.labels.classes)
    stream_type = BalancedStream if config.sampling == "balanced" else LabelledStream
    return stream_type(
        corpus, material.training, config.train.seed, crop_seconds, targets=by_clip, groups=groups
    )


def _build_classifier(
    config: ClassifierConfig, session: Session, material: Material
) -> AudioClassifier:
    attention = session.choices["attention"]
    encoder_config = read_encoder_config(config)
    encoder = (
        load_model(AudioEncoder, config.encoder, attention)
        if config.encoder
        else build_encoder(encoder_config, attention, material.corpus, material.training)
    )
    encoder.to(session.accelerator.device)
    classifier = AudioClassifier(
        AudioClassifierConfig(
            encoder_config=encoder_config.with_attention(attention),
            pooling=config.pooling,
            level=_choose_level(config, encoder, material),
            windows=config.windows.model_dump() if config.windows else None,
            head_config=config.head.model_dump(),
            classes=list(material.labels.classes),
            task=material.task,
        )
    )
    classifier.encoder = encoder
    return classifier.to(session.accelerator.device)


def _choose_level(config: ClassifierConfig, encoder: AudioEncoder, material: Material) -> LevelName:
    """By a linear probe's UAR on the validation clips; of equal ones the lowest.

    Raises:
        UserError: there is no such level, or nothing to choose by.
    """
    highest = encoder.config.num_hidden_layers
    if config.level != "chosen":
        if isinstance(config.level, int) and config.level > highest:
            raise UserError(f"level: the encoder has levels 0 to {highest}, got {config.level}")
        return config.level
    corpus, most = material.corpus, encoder.config.max_seconds * encoder.config.sample_rate
    levels = range(highest + 1)
    names = np.array(material.labels.classes)
    truth = material.labels.encode([corpus.clips[index] for index in material.validation])
    parts = []
    for indices, targets in (
        (material.training, material.targets),
        (material.validation, truth),
    ):
        fitting = corpus.num_samples[indices] <= most
        values = embed_levels(encoder, corpus, indices[fitting], levels)
        parts.append((values, names[targets[fitting].argmax(1)]))
    (train_values, train_labels), (values, labels) = parts
    scores = []
    for level in levels:
        fit = (train_values[:, level], train_labels)
        score = score_between("linear", *fit, values[:, level], labels)
        if score is None:
            raise UserError(
                "level chosen needs training and validation clips of two classes at least, of up "
                f"to {encoder.config.max_seconds:g} s: name a level"
            )
        scores.append(score)
    return int(np.argmax(scores))


def _keep_probe(
    session: Session, classifier: AudioClassifier, material: Material, started: float
) -> TrainState:
    """What training would have left of a head that needs none."""
    if session.accelerator.is_main_process:
        write_folder(session.output / f"best-{0:08d}", classifier.save_pretrained)
    session.accelerator.wait_for_everyone()
    scores = score_clips(classifier.eval(), material.corpus, material.validation, material.labels)
    best_value = scores[material.labels.headline]
    return TrainState(seconds=time.monotonic() - started, best_step=0, best_value=best_value)


def _evaluation(
    config: ClassifierConfig,
    session: Session,
    module: FineTuning,
    material: Material,
    fresh_head: dict[str, Tensor],
) -> Evaluation:
    is_lora = config.strategy.kind == "lora"
    corpus, validation, labels = material.corpus, material.validation, material.labels
    truth = labels.encode([corpus.clips[index] for index in validation])
    later_looks = math.ceil(config.train.max_steps / config.evaluate_every)
    looks = Looks(lambda answers: labels.score_headline(truth, answers), later_looks)
    kept_probe = session.output / f"best-{0:08d}"
    if session.checkpoint and kept_probe.exists():  # a resumed run has not looked at it
        probe = load_model(AudioClassifier, kept_probe, session.choices["attention"])
        looks.add(predict_clips(probe.eval().to(session.accelerator.device), corpus, validation))

    def validate() -> dict[str, float]:
        judged = module.judged
        looks.add(answers := predict_clips(judged, corpus, validation))
        scores = labels.score(truth, answers, judged.config.thresholds)
        return {f"validation_{name}": value for name, value in scores.items()}

    def save_best(step: int) -> None:
        plain = without_lora(module.judged) if is_lora else module.judged
        write_folder(session.output / f"best-{step:08d}", plain.save_pretrained)

    def keep_only(steps: Collection[int]) -> None:
        names = {f"best-{step:08d}" for step in steps}
        for path in session.output.glob("best-*"):
            if path.name not in names:
                shutil.rmtree(path)

    metric = f"validation_{labels.headline}"
    first_look = None
    if config.begins_as_probe:
        heads = (module.classifier.head, module.judged.head)
        first_look = look_at_probe(config.strategy, heads, fresh_head, looks.newest_is_better)
    return Evaluation(config.evaluate_every, validate, metric, save_best, keep_only, first_look)
