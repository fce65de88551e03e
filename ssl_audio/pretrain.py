"""Pretraining: wires corpus, encoder, objective and loop."""

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from transformers.utils import logging as transformers_logging

from ssl_audio import pictures
from ssl_audio.build import EncoderSettings, build_encoder, count_tokens, save_encoder
from ssl_audio.collapse import CollapseWatch, WatchConfig
from ssl_audio.config import Config
from ssl_audio.data.manifest import write_manifest
from ssl_audio.data.prepared import PreparedCorpus, fingerprint
from ssl_audio.data.stream import BackgroundStream, CropStream
from ssl_audio.errors import ConfigError
from ssl_audio.measuring import Measurement
from ssl_audio.monitoring import Labelled, Monitor, MonitorConfig, draw_first_clips
from ssl_audio.objectives import OBJECTIVES, Objective, ObjectiveConfig
from ssl_audio.objectives.masked import MaskedConfig
from ssl_audio.optim import parameter_groups
from ssl_audio.run_record import SEEN_CLIPS, write_run_record
from ssl_audio.session import TrainConfig, open_session
from ssl_audio.training import train


class PoolConfig(Config):
    """What audio to learn from.

    Attributes:
        corpus: prepared folder.
        folds: a protocol's name or a folds file; None takes every clip of the corpus.
        fold: whose training part is taken.
        crop_seconds: of every crop; shorter clips are padded.
        name: of the pool, as tables print it; None makes one from corpus and fold.
    """

    corpus: Path
    folds: str | None = None
    fold: int = 1
    crop_seconds: float = Field(default=3.0, gt=0, le=30)
    name: str | None = None


class PretrainConfig(Config):
    """Everything of a pretraining run."""

    data: PoolConfig
    encoder: EncoderSettings = EncoderSettings()
    objective: ObjectiveConfig = MaskedConfig()
    train: TrainConfig = TrainConfig()
    monitor: MonitorConfig = MonitorConfig()
    watch: WatchConfig = WatchConfig()


def pretrain(config: PretrainConfig, output: Path, resume: bool = False) -> None:
    """Trains an encoder without labels and saves it to ``output``, with pictures and ``run.json``.

    Raises:
        UserError: data, folder or configuration that does not fit.
    """
    transformers_logging.disable_progress_bar()
    corpus = PreparedCorpus.load(config.data.corpus)
    indices, pool = _choose_clips(corpus, config.data)
    labelled = Labelled.open(config.monitor)
    seen = [corpus.clips[index] for index in indices]
    encoder_config = config.encoder.build_config()
    tokens = count_tokens(encoder_config, config.data.crop_seconds)
    session = open_session(
        output, resume, config, config.train, fingerprint(seen), encoder_config, tokens
    )
    torch.manual_seed(config.train.seed)
    encoder = build_encoder(encoder_config, session.choices["attention"], corpus, indices)
    objective: Objective = OBJECTIVES[config.objective.kind](encoder, config.objective)
    if session.checkpoint is None:  # else the checkpoint holds what was measured
        objective.fit(corpus, indices, config.train.seed)
    draw_from = BackgroundStream if objective.needs_background else CropStream
    stream = draw_from(corpus, indices, config.train.seed, config.data.crop_seconds)
    sharded = session.accelerator.is_fsdp2
    learner = copy.deepcopy(objective) if sharded else objective
    groups = parameter_groups(learner, config.train.weight_decay)
    monitor = Monitor(config.monitor, objective, stream, session, labelled)
    state = train(
        learner,
        stream,
        groups,
        config.train,
        session,
        "pretrain",
        after_step=learner.after_step,
        watch=CollapseWatch(objective, config.watch),
        measurement=Measurement(config.monitor.every, monitor.measure),
        twin=objective if sharded else None,
    )
    if not session.accelerator.is_main_process:
        return
    save_encoder(encoder, output)
    write_manifest(seen, output / SEEN_CLIPS)
    loss = pictures.draw_loss_curve(output)
    objective.eval()
    draw_first_clips(objective, stream, session, output / "reconstruction.png")
    write_run_record(
        output,
        command="ssl_audio pretrain",
        config=config,
        seed=config.train.seed,
        device=str(session.accelerator.device),
        choices=session.choices,
        data_fingerprint=fingerprint(seen),
        wall_seconds=state.seconds,
        metrics={"loss": loss, "steps": state.step},
        details={
            "pretraining_data": pool,
            "budget_cut": state.cut,
            "processor_seconds": round(state.processor_seconds, 3),
            "num_clips": len(seen),
            "parameters": encoder.num_parameters(),
            "num_processes": session.accelerator.num_processes,
            "sharded": sharded,
        },
    )


def _choose_clips(corpus: PreparedCorpus, pool: PoolConfig) -> tuple[npt.NDArray[np.int64], str]:
    if pool.folds is None:
        return np.arange(len(corpus)), pool.name or corpus.name
    folds = corpus.folds(pool.folds)
    indices = corpus.indices(folds.fold(pool.fold).train)
    if not len(indices):
        raise ConfigError(f"{folds.protocol} fold {pool.fold} has no training clips")
    return indices, pool.name or f"{corpus.name}, fold {pool.fold} training clips"
