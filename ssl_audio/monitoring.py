"""What is measured of an encoder while it learns: probes, effective rank, a picture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ssl_audio import pictures
from ssl_audio.config import Config
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import CropStream
from ssl_audio.errors import ConfigError
from ssl_audio.objectives import Objective
from ssl_audio.probes import (
    PROBES,
    Floats,
    Strings,
    embed_levels,
    rank_me,
    score_between,
    score_within,
)
from ssl_audio.session import Session

_RANKED_CLIPS = 256


class MonitorConfig(Config):
    """What to measure every so often; without a labelled corpus the effective rank alone.

    Attributes:
        every: optimizer steps; the last step is always measured.
        corpus: prepared, with labels; probes learn from its training part and are scored on its
            validation speakers. Its test part is never looked at.
        folds: a protocol's name or a folds file of that corpus.
        fold: whose parts are taken.
        level: of the encoder; None is its last block.
    """

    every: int = Field(default=500, gt=0)
    corpus: Path | None = None
    folds: str | None = None
    fold: int = 1
    level: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.corpus is None and (self.folds is not None or self.fold != 1):
            raise ValueError("folds and fold are of monitor.corpus: name a labelled corpus too")
        return self


@dataclass(frozen=True)
class Labelled:
    """Clips with labels, of which the encoder learns nothing."""

    corpus: PreparedCorpus
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]

    @classmethod
    def open(cls, config: MonitorConfig) -> "Labelled | None":
        """The clips that the configuration names; None if it names none.

        Raises:
            ConfigError: no folds, or a fold without validation clips.
        """
        if config.corpus is None:
            return None
        corpus = PreparedCorpus.load(config.corpus)
        if config.folds is None:
            raise ConfigError("monitor.folds is needed with monitor.corpus: name its protocol")
        fold = corpus.folds(config.folds).fold(config.fold)
        train, validation = corpus.indices(fold.train), corpus.indices(fold.validation)
        if not len(train) or not len(validation):
            raise ConfigError(
                f"fold {config.fold} of {config.folds} has {len(train)} training and "
                f"{len(validation)} validation clips: probes need both"
            )
        return cls(corpus, train, validation)

    def labels(self, name: str, clips: npt.NDArray[np.int64]) -> Strings:
        """(clips,) of a field of the manifest; empty where it is unknown."""
        return np.array([getattr(self.corpus.clips[clip], name) or "" for clip in clips])


@dataclass
class Monitor:
    """Measures an objective's encoder; ``measure`` is for ``measuring.Measurement``.

    Attributes:
        config: what.
        objective: whose encoder.
        stream: of the pool, for effective rank and pictures.
        session: device, precision and folder.
        labelled: for the probes, if any.
        ranked: (clips,) of the pool that the rank is measured on.
    """

    config: MonitorConfig
    objective: Objective
    stream: CropStream
    session: Session
    labelled: Labelled | None
    ranked: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        indices = self.stream.indices
        self.ranked = indices[:: max(1, len(indices) // _RANKED_CLIPS)][:_RANKED_CLIPS]

    def measure(self, step: int) -> dict[str, float]:
        """By name; also draws what the objective makes of hidden places, if it draws."""
        self._draw(step)
        values = {"rank_me": rank_me(self._embed(self.stream.corpus, self.ranked))}
        if self.labelled is None:
            return values
        learnt = self._embed(self.labelled.corpus, self.labelled.train)
        heard = self._embed(self.labelled.corpus, self.labelled.validation)
        for label in ("emotion", "gender"):
            labels = self.labelled.labels(label, self.labelled.train)
            truth = self.labelled.labels(label, self.labelled.validation)
            for name in PROBES:
                known = (labels != ""), (truth != "")
                uar = score_between(
                    name, learnt[known[0]], labels[known[0]], heard[known[1]], truth[known[1]]
                )
                if uar is not None:
                    values[f"probe_{label}_{name}"] = uar
        speakers = self.labelled.labels("speaker", self.labelled.validation)
        for name in PROBES:
            uar = score_within(name, heard[speakers != ""], speakers[speakers != ""])
            if uar is not None:
                values[f"probe_speaker_{name}"] = uar
        return values

    def _embed(self, corpus: PreparedCorpus, clips: npt.NDArray[np.int64]) -> Floats:
        """(clips, 2 dim) float32."""
        encoder = self.objective.encoder
        level = self.config.level
        levels = (encoder.config.num_hidden_layers if level is None else level,)
        return embed_levels(encoder, corpus, clips, levels, self.session.choices["precision"])[:, 0]

    def _draw(self, step: int) -> None:
        folder = self.session.output / "pictures"
        folder.mkdir(exist_ok=True)
        path = folder / f"reconstruction-{step:08d}.png"
        draw_first_clips(self.objective, self.stream, self.session, path)


def draw_first_clips(
    objective: Objective, stream: CropStream, session: Session, path: Path
) -> None:
    """What the objective makes of the first three draws, if it draws anything."""
    device = session.accelerator.device
    batch = {name: value.to(device) for name, value in stream.__getitems__([0, 1, 2]).items()}
    picture = objective.reconstruct(batch)
    if picture is not None:
        clips = [stream.corpus.clips[index] for index in batch["clip_indices"].tolist()]
        names = [clip.clip_id for clip in clips]
        pictures.draw_reconstruction(picture, names, objective.encoder, path)
