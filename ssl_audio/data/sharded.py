"""A prepared corpus anywhere that fsspec reaches, streamed shard by shard, never unpacked.

``ShardedCorpus.open("s3://bucket/corpus")`` reads the manifest; ``ShardStream`` then yields
batches of random crops as the shards come in. ``memory://``, ``file://`` and plain paths work as
they are, others with the package that fsspec names for them (aiohttp for http, s3fs for s3).
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from ssl_audio.data.manifest import SAMPLE_RATE, Clip, read_manifest
from ssl_audio.data.prepared import PreparedCorpus, fingerprint
from ssl_audio.data.shards import Int16, rows_of
from ssl_audio.data.stream import BatchStream, choose_crops
from ssl_audio.draws import Stream, draw_keys
from ssl_audio.errors import DataError

Ints = npt.NDArray[np.int64]
_GATHERED_SHARDS = 8


@dataclass(frozen=True)
class ShardedCorpus:
    """What is known of a prepared corpus without its audio."""

    address: str
    """Of the folder, as fsspec takes it."""
    name: str
    """The corpus reader that made it."""
    clips: tuple[Clip, ...]
    num_samples: npt.NDArray[np.int64]
    """(num_clips,) length of each clip at 16 kHz."""
    fingerprint: str
    shards: tuple[str, ...]
    firsts: tuple[int, ...]
    """Position of each shard's first clip, and the number of all clips."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of fsspec's file system: credentials, an endpoint."""

    @classmethod
    def open(cls, address: str, **options: Any) -> "ShardedCorpus":
        """Reads ``corpus.json`` and the manifest.

        Args:
            address: of a prepared folder, e.g. ``s3://bucket/corpus``, ``https://...`` or a path.
            options: for fsspec's file system.

        Raises:
            DataError: it can't be reached, or is no prepared corpus.
        """
        try:
            system, path = fsspec.url_to_fs(address, **options)
            with system.open(f"{path}/corpus.json", "rb") as file:
                about = json.load(file)
            with system.open(f"{path}/manifest.parquet", "rb") as file:
                clips = tuple(read_manifest(file))
            shards, sizes = tuple(about["shards"]), about["clips_per_shard"]
            name = about["corpus"]
        except (OSError, ValueError, ImportError) as error:
            raise DataError(f"{address} can't be read as a prepared corpus: {error}") from None
        except KeyError:
            raise DataError(
                f"{address}: its corpus.json is of an older version; prepare the corpus again"
            ) from None
        firsts = tuple(np.cumsum([0, *sizes]).tolist())
        if firsts[-1] != len(clips) or len(shards) != len(sizes):
            raise DataError(f"{address}: corpus.json and manifest disagree; copy it again")
        lengths = np.array([clip.num_samples for clip in clips], np.int64)
        return cls(address, name, clips, lengths, fingerprint(clips), shards, firsts, options)

    def __len__(self) -> int:
        return len(self.clips)

    def read_shard(self, number: int) -> Iterator[tuple[int, Int16]]:
        """Positions and audio of a shard's clips, one after another as they come in.

        Raises:
            DataError: it can't be read, ends early, or is that of another corpus.
        """
        position = self.firsts[number]
        where = f"{self.address}/{self.shards[number]}"
        try:
            system, path = fsspec.url_to_fs(self.address, **self.options)
            with system.open(f"{path}/{self.shards[number]}", "rb") as file:
                for batch in pa.ipc.open_stream(file):
                    for clip_id, audio in rows_of(batch):
                        self._refuse_other(where, position, clip_id, len(audio))
                        yield position, audio
                        position += 1
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{where} can't be read: {error}") from None
        if position != self.firsts[number + 1]:
            missing = self.firsts[number + 1] - position
            raise DataError(f"{where} lacks its last {missing} clips: copy it again")

    def gather(self, indices: Ints, hours: float) -> PreparedCorpus:
        """Some of the clips in memory, from shards spread over the corpus, for measuring a pool.

        Args:
            indices: (num_clips,) positions of the clips that may be taken, at least one.
            hours: of audio, about; all if they are fewer.
        """
        shards = np.unique(np.searchsorted(self.firsts, indices, side="right") - 1)
        places = np.linspace(0, len(shards) - 1, min(_GATHERED_SHARDS, len(shards)))
        first = shards[places.round().astype(np.int64)]
        allowed = set(indices.tolist())
        room = hours * 3600 * SAMPLE_RATE
        share = room / len(first)
        taken: dict[int, Int16] = {}
        for shard in (*first, *np.setdiff1d(shards, first)):
            if room <= 0:
                break
            least = max(0.0, room - share)
            for position, audio in self.read_shard(int(shard)):
                if room <= least:
                    break
                if position in allowed:
                    taken[position] = audio.copy()
                    room -= len(audio)
        clips = tuple(self.clips[position] for position in taken)
        return PreparedCorpus(
            root=Path(self.address),
            name=self.name,
            clips=clips,
            num_samples=self.num_samples[list(taken)],
            fingerprint=fingerprint(clips),
            views=tuple(taken.values()),
        )

    def _refuse_other(self, where: str, position: int, clip_id: str, num_samples: int) -> None:
        clip = self.clips[position] if position < len(self) else None
        if clip is None or (clip.clip_id, clip.num_samples) != (clip_id, num_samples):
            raise DataError(f"{where}: clip {clip_id} is not the manifest's; copy the corpus again")


class ShardStream(BatchStream):
    """Endless batches of random crops from the shards of a corpus.

    In every pass each clip comes exactly once, with the very crop that ``CropStream`` draws in that
    pass, for any number of processes and workers. Their order depends on how many readers
    (processes x workers) there are, and on nothing else: shards are dealt to the readers anew in
    each pass, and each reader's clips go through a shuffling buffer. A reader that is through with
    a pass begins the next one without waiting for the others.

    Where there are fewer shards than readers, several read the same shard and each takes its own
    stride of the clips.
    """

    def __init__(
        self,
        corpus: ShardedCorpus,
        indices: npt.NDArray[np.int64],
        seed: int,
        crop_seconds: float,
        batch_size: int,
        buffer_size: int = 512,
        process: int = 0,
        num_processes: int = 1,
        with_background: bool = False,
        first_batch: int = 0,
    ) -> None:
        """Reads nothing yet.

        Args:
            corpus: an open one.
            indices: (num_clips,) positions in the corpus of the clips to draw from.
            seed: with the pass it decides the order, with the clip the crop.
            crop_seconds: length of every crop; shorter clips are padded with zeros at their end.
            batch_size: of every batch; a batch comes from one reader.
            buffer_size: crops that each reader holds to shuffle them.
            process: number of this one, from 0.
            num_processes: that share the corpus.
            with_background: for mixing in, each crop comes with another clip's of its batch.
            first_batch: of this process that is yielded; nothing of those before it is read that
                no later one needs.

        Raises:
            DataError: no clips to draw from.
        """
        if not len(indices):
            raise DataError(f"{corpus.address}: no clips to draw from")
        self.corpus = corpus
        self.indices = indices
        self.seed = seed
        self.crop = round(crop_seconds * SAMPLE_RATE)
        self.batch_size = batch_size
        self.buffer_size = buffer_size
        self.process = process
        self.num_processes = num_processes
        self.with_background = with_background
        self.first_batch = first_batch

    def starting_at(self, batch: int) -> Self:
        """The same stream from one of its batches on, for the same number of workers."""
        later = copy.copy(self)
        later.first_batch = batch
        return later

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Batches as those of ``CropStream``, on the CPU."""
        worker = get_worker_info()
        num_workers = worker.num_workers if worker else 1
        # Whoever gives out batches asks its workers in turn, from the first one on.
        own = (self.first_batch + (worker.id if worker else 0)) % num_workers
        num_gone = -(-(self.first_batch - own) // num_workers)
        reader = self.process * num_workers + own
        crops = self._crops(reader, self.num_processes * num_workers, num_gone * self.batch_size)
        while True:
            yield self._collate([next(crops) for _ in range(self.batch_size)])

    def _crops(
        self, reader: int, num_readers: int, num_gone: int
    ) -> Iterator[tuple[int, int, Int16]]:
        """Pass, position and crop of each of the reader's clips, pass after pass."""
        for pass_number in count():
            units = self._units(pass_number, reader, num_readers)
            order = self._shuffle(units, pass_number, reader, num_readers)
            if num_gone < len(order):
                yield from self._read(units, order[num_gone:], pass_number)
            num_gone = max(0, num_gone - len(order))

    def _units(self, pass_number: int, reader: int, num_readers: int) -> list[tuple[int, Ints]]:
        """Shards that fall to a reader in a pass, each with the positions that it takes of it."""
        wanted = np.zeros(len(self.corpus), bool)
        wanted[self.indices] = True
        num_shards = len(self.corpus.shards)
        num_strides = -(-num_readers // num_shards)
        dealt = _generator(self.seed, pass_number).permutation(num_shards * num_strides)
        units = []
        for shard, stride in zip(*divmod(dealt[reader::num_readers], num_strides), strict=True):
            positions = np.arange(*self.corpus.firsts[shard : shard + 2])
            own = wanted[positions] & (positions % num_strides == stride)
            units.append((int(shard), positions[own]))
        return units

    def _shuffle(
        self, units: list[tuple[int, Ints]], pass_number: int, reader: int, num_readers: int
    ) -> list[int]:
        """Positions in the order in which a buffer of the reader's crops gives them out.

        A pass ends before the next begins, so that none has a clip twice.
        """
        chance = _generator(self.seed, pass_number, reader, num_readers)
        held: list[int] = []
        order: list[int] = []
        for position in (position for _, positions in units for position in positions.tolist()):
            if len(held) < self.buffer_size:
                held.append(position)
                continue
            place = int(chance.integers(len(held)))
            order.append(held[place])
            held[place] = position
        while held:
            order.append(held.pop(int(chance.integers(len(held)))))
        return order

    def _read(
        self, units: list[tuple[int, Ints]], order: list[int], pass_number: int
    ) -> Iterator[tuple[int, int, Int16]]:
        """The crops of some positions in this order; holds those that come in before their turn."""
        coming = self._own_crops(units, set(order), pass_number)
        held: dict[int, Int16] = {}
        for position in order:
            while position not in held:
                read, crop = next(coming)
                held[read] = crop
            yield pass_number, position, held.pop(position)

    def _own_crops(
        self, units: list[tuple[int, Ints]], needed: set[int], pass_number: int
    ) -> Iterator[tuple[int, Int16]]:
        """Position and crop of needed clips, in the order of the shards, of which others stay."""
        everything = np.arange(len(self.corpus))
        keys = self._keys(np.full(len(self.corpus), pass_number), everything)
        starts = choose_crops(keys, self.corpus.num_samples, self.crop)
        for shard, positions in units:
            own = needed.intersection(positions.tolist())
            if not own:
                continue
            for position, audio in self.corpus.read_shard(shard):
                if position in own:
                    start = starts[position]
                    yield position, audio[start : start + self.crop].copy()

    def _collate(self, crops: list[tuple[int, int, Int16]]) -> dict[str, Tensor]:
        waveform = np.zeros((len(crops), self.crop), np.int16)
        for row, (_, _, crop) in zip(waveform, crops, strict=True):
            row[: len(crop)] = crop
        clips = np.array([position for _, position, _ in crops], np.int64)
        passes = np.array([pass_number for pass_number, _, _ in crops], np.int64)
        batch = {
            "waveform": torch.from_numpy(waveform),
            "num_samples": torch.from_numpy(np.minimum(self.corpus.num_samples[clips], self.crop)),
            "keys": self._keys(passes, clips),
            "clip_indices": torch.from_numpy(clips),
        }
        if self.with_background:
            others = torch.from_numpy(_nearest_others(clips))
            batch["background"] = batch["waveform"][others]
            batch["background_samples"] = batch["num_samples"][others]
        return batch

    def _keys(self, passes: npt.NDArray[np.int64], clips: npt.NDArray[np.int64]) -> Tensor:
        return draw_keys(self.seed, torch.from_numpy(passes), torch.from_numpy(clips))


def _nearest_others(clips: Ints) -> Ints:
    """Of each row of a batch the nearest before it, round the end, that is of another clip.

    A batch has a clip twice where a pass ends within it; where it has no other, any row will do.

    Args:
        clips: (batch,) their positions.
    """
    rows = np.arange(len(clips))
    before = (rows[:, None] - rows - 1) % len(clips)
    return before[rows, (clips[before] != clips[:, None]).argmax(1)]


def _generator(seed: int, pass_number: int, *reader: int) -> np.random.Generator:
    seeds = np.random.SeedSequence([seed, pass_number, int(Stream.ORDER), *reader])
    return np.random.Generator(np.random.PCG64(seeds))
