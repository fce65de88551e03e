"""What audio a pretraining run learns from: a folder of this machine, or shards from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from torch.utils.data import Dataset

from ssl_audio.config import Config
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus, fingerprint
from ssl_audio.data.sharded import ShardedCorpus, ShardStream
from ssl_audio.data.stream import BackgroundStream, CropStream
from ssl_audio.errors import ConfigError
from ssl_audio.session import TrainConfig

Ints = npt.NDArray[np.int64]
Address = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://")]
_MEASURED_HOURS = 1.0


class PoolConfig(Config):
    """What audio to learn from.

    Attributes:
        corpus: prepared folder, or where one is kept that fsspec reads, e.g. ``s3://bucket/corpus``:
            its shards are then streamed, never unpacked.
        folds: a protocol's name or a folds file; None takes every clip of the corpus.
        fold: whose training part is taken.
        crop_seconds: of every crop; shorter clips are padded.
        name: of the pool, as tables print it; None makes one from corpus and fold.
    """

    corpus: Address | Path
    folds: str | None = None
    fold: int = 1
    crop_seconds: float = Field(default=3.0, gt=0, le=30)
    name: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        said_alone = "fold" in self.model_fields_set and "folds" not in self.model_fields_set
        if self.folds is None and (said_alone or self.fold != 1):
            raise ValueError(
                "fold is of no protocol, and all clips would be learnt from, those of its test "
                "speakers too: name the protocol with folds, or leave fold out"
            )
        return self


@dataclass(frozen=True)
class Pool:
    """Clips of a prepared folder: which ones a step has depends on its number alone.

    Attributes:
        name: as tables print it.
        corpus: memory-mapped.
        indices: (num_clips,) positions in it of the clips to learn from.
        crop_seconds: of every crop.
    """

    name: str
    corpus: PreparedCorpus
    indices: Ints
    crop_seconds: float

    @property
    def clips(self) -> Sequence[Clip]:
        """All that are learnt from."""
        return [self.corpus.clips[index] for index in self.indices]

    def identify(self, config: TrainConfig) -> str:
        """What a run must find again to go on."""
        return fingerprint(self.clips)

    def draw(self, seed: int, with_background: bool) -> CropStream:
        """Crops of ``corpus`` by number."""
        draw_from = BackgroundStream if with_background else CropStream
        return draw_from(self.corpus, self.indices, seed, self.crop_seconds)

    def stream(
        self, config: TrainConfig, process: int, num_processes: int, with_background: bool
    ) -> Dataset:
        """What the training loop of one process draws from."""
        return self.draw(config.seed, with_background)


@dataclass(frozen=True)
class StreamedPool(Pool):
    """All clips of a prepared corpus elsewhere, whose shards are dealt to everyone who reads.

    ``corpus`` and ``indices`` are of an hour of it, in memory: constants and clusters are measured
    on them, and pictures show them.

    Attributes:
        source: of which everything is learnt from.
    """

    source: ShardedCorpus

    @property
    def clips(self) -> Sequence[Clip]:
        """All that are learnt from."""
        return self.source.clips

    def identify(self, config: TrainConfig) -> str:
        """What a run must find again to go on; the order of clips depends on the readers too."""
        return f"{self.source.fingerprint}, {max(1, config.num_workers)} readers a process"

    def stream(
        self, config: TrainConfig, process: int, num_processes: int, with_background: bool
    ) -> Dataset:
        """What the training loop of one process draws from."""
        return ShardStream(
            self.source,
            np.arange(len(self.source)),
            config.seed,
            self.crop_seconds,
            config.batch_size,
            process=process,
            num_processes=num_processes,
            with_background=with_background,
        )


def open_pool(config: PoolConfig) -> Pool:
    """Opens what the configuration names.

    Raises:
        UserError: it is not there, is no prepared corpus, or has no such clips.
    """
    if isinstance(config.corpus, str):
        return _open_streamed(config, config.corpus)
    corpus = PreparedCorpus.load(config.corpus)
    if config.folds is None:
        everything = np.arange(len(corpus))
        return Pool(config.name or corpus.name, corpus, everything, config.crop_seconds)
    folds = corpus.folds(config.folds)
    indices = corpus.indices(folds.fold(config.fold).train)
    if not len(indices):
        raise ConfigError(f"{folds.protocol} fold {config.fold} has no training clips")
    name = config.name or f"{corpus.name}, fold {config.fold} training clips"
    return Pool(name, corpus, indices, config.crop_seconds)


def _open_streamed(config: PoolConfig, address: str) -> StreamedPool:
    if config.folds is not None:
        raise ConfigError(
            "data.folds needs a prepared folder of this machine: leave it out, or prepare the "
            "training clips alone"
        )
    source = ShardedCorpus.open(address)
    if not len(source):
        raise ConfigError(f"{address} has no clips")
    hour = source.gather(np.arange(len(source)), _MEASURED_HOURS)
    name = config.name or source.name
    return StreamedPool(name, hour, np.arange(len(hour)), config.crop_seconds, source)
