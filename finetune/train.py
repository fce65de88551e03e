"""Fine-tuning on one fold: a model, its one test, and the record of both."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers.utils import logging as transformers_logging

from finetune.augmentation import refuse_other_genders
from finetune.config import FinetuneConfig
from finetune.crops import refuse_unheard
from finetune.evaluate import (
    VALIDATION_ANSWERS,
    load_classifier,
    predict_clips,
    predictions_frame,
    score_answers,
)
from finetune.heads import HEADS
from finetune.heard import TRAINING_CLIPS, keep_pretraining_clips
from finetune.labels import LABEL_SPACES
from finetune.learning import learn, load_best, read_encoder_config
from finetune.material import Material
from finetune.model import AudioClassifier
from finetune.predictions import Predictions, Provenance, collect_genders
from finetune.pretraining import WEIGHTS, Pretraining
from finetune.self_training import enlarge, open_unlabelled
from finetune.votes import put_votes, read_votes
from ssl_audio import pictures
from ssl_audio.audit import guard
from ssl_audio.build import count_tokens
from ssl_audio.checkpoint import file_sha256
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import write_manifest
from ssl_audio.data.prepared import PreparedCorpus, fingerprint
from ssl_audio.data.protocols import PROTOCOLS, open_protocol
from ssl_audio.encoder import AudioEncoderFeatureExtractor
from ssl_audio.errors import ConfigError, DataError
from ssl_audio.run_record import git_commit, read_run_record, write_run_record
from ssl_audio.session import FREE_SECTIONS, FREE_TO_CHANGE, Session, open_session
from ssl_audio.train_state import TrainState

TYPICAL_SECONDS = 3.0
"""Of a whole clip, for choosing the form of attention."""


def finetune(config: FinetuneConfig, output: Path, resume: bool = False) -> None:
    """Trains a classifier, keeps its best step on validation, and tests that one once.

    ``output`` gets the model, ``predictions.parquet`` of the test clips, ``run.json``, pictures; of
    self-training also the first model with the same, in ``teacher``.

    Raises:
        UserError: data, folder or configuration that does not fit, or a leaking split.
    """
    transformers_logging.disable_progress_bar()
    opened = open_protocol(config.data.folds, [PreparedCorpus.load(config.data.corpus)], PROTOCOLS)
    corpus, folds = opened.corpus, opened.folds
    _refuse_other_task(config, folds)
    refuse_other_genders(config.augment, folds.task)
    fold = folds.fold(config.data.fold)
    _refuse_unusable(folds, fold)
    material = _open_material(config, corpus, folds, fold)
    material = material.thin(config.training_share, config.train.seed)
    refuse_unheard(config, config.data.crop_seconds, "data.crop_seconds", material)
    guard(corpus, folds, [config.data.fold])
    test = corpus.indices(fold.test)
    notes: tuple[str, ...] = ()
    if config.self_training:
        pool = open_unlabelled(config.self_training.corpus)
        identity = _identify(config, material, folds, test)
        teacher = _train_teacher(config, output, resume, identity)
        enlarged = enlarge(material, teacher, pool, config.self_training.wanted_accuracy)
        material, notes = enlarged.material, (enlarged.note,)
        refuse_unheard(config, config.data.crop_seconds, "data.crop_seconds", material)
        print(enlarged.note)
    encoder_config = read_encoder_config(config)
    session = open_session(
        output,
        resume,
        config,
        config.train,
        _identify(config, material, folds, test),
        encoder_config,
        count_tokens(encoder_config, config.data.crop_seconds or TYPICAL_SECONDS),
    )
    state = learn(config, config.data.crop_seconds, session, material)
    if session.accelerator.is_main_process:
        _finish(config, session, state, material, folds, fold, notes)
    session.accelerator.wait_for_everyone()


def _train_teacher(
    config: FinetuneConfig, output: Path, resume: bool, identity: str
) -> AudioClassifier:
    """The first model of self-training: the same run without it, unless it is there already."""
    teacher = output / "teacher"
    alone = config.model_copy(update={"self_training": None})
    if not (resume and (teacher / "run.json").exists()):
        finetune(alone, teacher, resume)
    elif (
        _fixed(read_run_record(teacher)["config"]) != _fixed(alone.model_dump(mode="json"))
        or read_run_record(teacher)["data_fingerprint"] != identity
    ):
        raise ConfigError(f"{teacher} was trained otherwise: choose another output folder")
    return load_classifier(teacher)


def _fixed(config: dict[str, Any]) -> dict[str, Any]:
    """What a run must keep to be gone on with."""
    train = {name: value for name, value in config["train"].items() if name not in FREE_TO_CHANGE}
    return {**{name: config[name] for name in config.keys() - FREE_SECTIONS}, "train": train}


def _identify(
    config: FinetuneConfig, material: Material, folds: Folds, test: npt.NDArray[np.int64]
) -> str:
    """What a run learns from and is tested on, by content: files may change under their names.

    Args:
        config: of the run.
        material: labelled clips, and unlabelled ones that were added.
        folds: of which the run is one.
        test: (clips,) int64 positions in the material's corpus.
    """
    used = [*material.training, *material.validation, *test]
    clips = fingerprint([material.corpus.clips[index] for index in used])
    files = (config.data.votes, config.encoder and config.encoder / WEIGHTS)
    prints = [file_sha256(file) for file in files if file is not None]
    return " ".join([clips, folds.fingerprint, *prints])


def _refuse_unusable(folds: Folds, fold: Fold) -> None:
    for part in ("train", "validation", "test"):
        if not getattr(fold, part):
            raise DataError(f"{folds.protocol} fold {fold.number} has no {part} clips")
    if len(folds.classes) < 2:
        raise DataError(f"{folds.protocol} has the class {folds.classes[0]} alone: nothing to tell")


def _refuse_other_task(config: FinetuneConfig, folds: Folds) -> None:
    if folds.task not in (tasks := HEADS[config.head.kind].tasks):
        fitting = " or ".join(kind for kind, head in HEADS.items() if folds.task in head.tasks)
        raise ConfigError(
            f"head {config.head.kind} is for tasks {', '.join(tasks)}, {folds.protocol} is "
            f"{folds.task}: set head={fitting}"
        )


def _open_material(
    config: FinetuneConfig, corpus: PreparedCorpus, folds: Folds, fold: Fold
) -> Material:
    labels = LABEL_SPACES[folds.task](folds.classes)
    parts = (corpus.indices(fold.train), corpus.indices(fold.validation))
    material = Material(corpus, *parts, labels, folds.task)
    if config.data.votes is None:
        return material
    votes = read_votes(config.data.votes, folds.classes)
    clips = [corpus.clips[index] for index in material.training]
    voted = sum(clip.clip_id in votes for clip in clips)
    if not voted:
        raise ConfigError(f"{config.data.votes} names no training clip, e.g. {clips[0].clip_id}")
    unknown = len(votes.keys() - {clip.clip_id for clip in corpus.clips})
    odd = f"; {unknown} more are of clips that {corpus.root} lacks" if unknown else ""
    print(f"votes for {voted} of {len(clips)} training clips{odd}", file=sys.stderr)
    return replace(material, soft_targets=put_votes(material.targets, clips, votes, labels))


def _write_validation_answers(
    config: FinetuneConfig, best: AudioClassifier, material: Material, output: Path
) -> None:
    """What an ensemble of this model and others can be weighed by."""
    answers = predict_clips(best, material.corpus, material.validation)
    told = (answers, material.labels, config.data.fold, config.train.seed)
    frame = predictions_frame(material.corpus, material.validation, *told)
    frame.to_parquet(output / VALIDATION_ANSWERS, index=False)


def _finish(
    config: FinetuneConfig,
    session: Session,
    state: TrainState,
    material: Material,
    folds: Folds,
    fold: Fold,
    notes: tuple[str, ...],
) -> None:
    """The best step's model, tested once."""
    output, corpus, labels = session.output, material.corpus, material.labels
    best = load_best(session, state, config, material)
    best.save_pretrained(output)
    sample_rate = best.encoder.config.sample_rate
    AudioEncoderFeatureExtractor(sample_rate).save_pretrained(output)
    test = corpus.indices(fold.test)
    probabilities = predict_clips(best, corpus, test)
    metrics = score_answers(best, corpus, test, probabilities, labels)
    learnt = [corpus.clips[index] for index in (*material.training, *material.validation)]
    write_manifest(learnt, output / TRAINING_CLIPS)
    keep_pretraining_clips(config.encoder, output)
    _write_validation_answers(config, best, material, output)
    pretraining = Pretraining.read(config.encoder)
    transductive = pretraining.saw(corpus.clips[index].audio_sha256 for index in test)
    cut = (f"budget cut at step {state.step} of {config.train.max_steps}",) if state.cut else ()
    voted = ("learnt from raters' votes",) if config.data.votes else ()
    about = Provenance(
        system=config.row_name,
        task=folds.task,
        protocol=folds.protocol,
        classes=labels.classes,
        parameters=best.num_parameters(),
        train_seconds=round(state.seconds, 1),
        pretraining_data=pretraining.pool,
        leak="transductive" if transductive else "",
        notes=(*pretraining.notes, *cut, *voted, *notes),
        genders=collect_genders((corpus.clips[i].speaker, corpus.clips[i].gender) for i in test),
        num_folds=len(folds.folds),
        test_to_train=folds.test_to_train,
        training_share=config.training_share,
        data=corpus.fingerprint_of(folds),
        split=folds.fingerprint,
        code=git_commit() or "",
        weights=pretraining.weights,
    )
    frame = predictions_frame(
        corpus, test, probabilities, labels, config.data.fold, config.train.seed
    )
    Predictions(about, frame).save(output / "predictions.parquet")
    if state.step:
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
            f"best_validation_{labels.headline}": state.best_value,
            **{f"test_{name}": value for name, value in metrics.items()},
        },
        details={
            "protocol": folds.protocol,
            "task": folds.task,
            "system": about.system,
            "budget_cut": state.cut,
            "level": best.config.level,
            "num_processes": session.accelerator.num_processes,
        },
    )
    name = labels.headline
    print(
        f"{about.system}: best step {state.best_step}, validation {name} {state.best_value:.3f}; "
        f"test {name} {metrics[name]:.3f} on {len(test)} clips of fold {config.data.fold}"
    )
