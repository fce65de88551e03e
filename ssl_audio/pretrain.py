"""Pretraining: wires corpus, encoder, objective and loop."""

import copy
from pathlib import Path
from typing import Self

import torch
from pydantic import model_validator
from transformers.utils import logging as transformers_logging

from ssl_audio import pictures
from ssl_audio.build import EncoderSettings, build_encoder, count_tokens, save_encoder
from ssl_audio.collapse import CollapseWatch, WatchConfig
from ssl_audio.config import Config
from ssl_audio.data.manifest import write_manifest
from ssl_audio.data.prepared import fingerprint
from ssl_audio.measuring import Measurement
from ssl_audio.monitoring import Labelled, Monitor, MonitorConfig, draw_first_clips
from ssl_audio.objectives import OBJECTIVES, Objective, ObjectiveConfig
from ssl_audio.objectives.contrastive import ContrastConfig
from ssl_audio.objectives.latent import LatentConfig
from ssl_audio.objectives.masked import MaskedConfig
from ssl_audio.optim import parameter_groups
from ssl_audio.pool import PoolConfig, open_pool
from ssl_audio.run_record import SEEN_CLIPS, write_run_record
from ssl_audio.session import TrainConfig, open_session
from ssl_audio.sharding import is_cut
from ssl_audio.training import train


class PretrainConfig(Config):
    """Everything of a pretraining run."""

    data: PoolConfig
    encoder: EncoderSettings = EncoderSettings()
    objective: ObjectiveConfig = MaskedConfig()
    train: TrainConfig = TrainConfig()
    monitor: MonitorConfig = MonitorConfig()
    watch: WatchConfig = WatchConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        most = self.encoder.build_config().num_hidden_layers
        if self.monitor.level is not None and self.monitor.level > most:
            raise ValueError(f"monitor.level: the encoder has levels 0 to {most}")
        prediction = getattr(self.objective, "prediction", self.objective)
        if isinstance(prediction, LatentConfig) and prediction.average_layers > most:
            raise ValueError(
                f"objective's average_layers must be at most the encoder's {most} blocks, got "
                f"{prediction.average_layers}"
            )
        contrast = getattr(self.objective, "contrast", self.objective)
        if isinstance(contrast, ContrastConfig):
            self._check_views(contrast)
        return self

    def _check_views(self, contrast: ContrastConfig) -> None:
        seconds, crop = contrast.view_seconds, self.data.crop_seconds
        if seconds > crop or (seconds == crop and contrast.positives == "same_clip"):
            raise ValueError(
                f"view_seconds must be less than data.crop_seconds = {crop:g}, got {seconds:g}: "
                "both views of a clip would be the whole crop"
            )


def pretrain(config: PretrainConfig, output: Path, resume: bool = False) -> None:
    """Trains an encoder without labels and saves it to ``output``, with pictures and ``run.json``.

    Raises:
        UserError: data, folder or configuration that does not fit.
    """
    transformers_logging.disable_progress_bar()
    pool = open_pool(config.data)
    labelled = Labelled.open(config.monitor)
    encoder_config = config.encoder.build_config()
    tokens = count_tokens(encoder_config, config.data.crop_seconds)
    session = open_session(
        output, resume, config, config.train, pool.identify(config.train), encoder_config, tokens
    )
    torch.manual_seed(config.train.seed)
    encoder = build_encoder(encoder_config, session.choices["attention"], pool.corpus, pool.indices)
    objective: Objective = OBJECTIVES[config.objective.kind](encoder, config.objective)
    if session.checkpoint is None:  # else the checkpoint holds what was measured
        objective.fit(pool.corpus, pool.indices, config.train.seed)
    accelerator, with_background = session.accelerator, objective.needs_background
    stream = pool.stream(
        config.train, accelerator.process_index, accelerator.num_processes, with_background
    )
    shown = pool.draw(config.train.seed, with_background)
    sharded = accelerator.is_fsdp2
    learner = copy.deepcopy(objective) if sharded else objective
    groups = parameter_groups(learner, config.train.weight_decay)
    monitor = Monitor(config.monitor, objective, shown, session, labelled)
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
    if not accelerator.is_main_process:
        return
    save_encoder(encoder, output)
    write_manifest(pool.clips, output / SEEN_CLIPS)
    loss = pictures.draw_loss_curve(output)
    objective.eval()
    draw_first_clips(objective, shown, session, output / "reconstruction.png")
    write_run_record(
        output,
        command="ssl_audio pretrain",
        config=config,
        seed=config.train.seed,
        device=str(accelerator.device),
        choices=session.choices,
        data_fingerprint=fingerprint(pool.clips),
        wall_seconds=state.seconds,
        metrics={"loss": loss, "steps": state.step},
        details={
            "pretraining_data": pool.name,
            "budget_cut": state.cut,
            "processor_seconds": round(state.processor_seconds, 3),
            "num_clips": len(pool.clips),
            "parameters": encoder.num_parameters(),
            "num_processes": accelerator.num_processes,
            "sharded": is_cut(learner),
        },
    )
