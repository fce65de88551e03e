"""An endless, shuffled stream of crops: sample number in, sample out."""

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.draws import Stream, draw_keys, uniform, view_keys
from ssl_audio.stop_signals import STOP_SIGNALS

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CropStream(Dataset):
    """Draw ``d`` is clip ``order(pass)[d mod n]`` of pass ``d div n``, cropped at random.

    Attributes:
        corpus: memory-mapped; nothing is decoded here.
        indices: (num_clips,) positions in the corpus of the clips to draw from.
        seed: with the draw's number it decides everything.
        crop_seconds: length of every crop; shorter clips are padded with zeros at their end. None
            takes whole clips, padded to the longest of their batch.
    """

    corpus: PreparedCorpus
    indices: Ints
    seed: int
    crop_seconds: float | None

    def choose(self, draws: Sequence[int]) -> tuple[Ints, Ints]:
        """Of each draw its pass and its clip's place among ``indices``."""
        return chosen_clips(draws, self.seed, len(self.indices))

    def __getitems__(self, draws: Sequence[int]) -> dict[str, Tensor]:
        """A ``Batch`` of the draws with these numbers, on the CPU."""
        passes, chosen = self.choose(draws)
        clips = self.indices[chosen]
        keys = draw_keys(self.seed, torch.from_numpy(passes), torch.from_numpy(clips))
        waveform, num_samples = self.cut(clips, keys)
        return {
            "waveform": waveform,
            "num_samples": num_samples,
            "keys": keys,
            "clip_indices": torch.from_numpy(clips),
        }

    def cut(self, clips: Ints, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples) int16 crops and their (batch,) int64 true lengths."""
        lengths = self.corpus.num_samples[clips]
        whole = int(lengths.max())
        crop = whole if self.crop_seconds is None else round(self.crop_seconds * SAMPLE_RATE)
        starts = choose_crops(keys, lengths, crop)
        waveform = np.empty((len(clips), crop), np.int16)
        for row, clip, start in zip(waveform, clips, starts, strict=True):
            part = self.corpus.views[clip][start : start + crop]
            row[: len(part)] = part
            row[len(part) :] = 0
        return torch.from_numpy(waveform), torch.from_numpy(np.minimum(lengths, crop))


class BackgroundStream(CropStream):
    """Crops with another clip's crop beside each one, for mixing it in.

    An only clip has another crop of its own.
    """

    def __getitems__(self, draws: Sequence[int]) -> dict[str, Tensor]:
        """A ``Batch`` with ``background`` and ``background_samples``."""
        batch = super().__getitems__(draws)
        _, own = self.choose(draws)
        drawn = uniform(batch["keys"], Stream.BACKGROUND, 1)[:, 0].double().numpy()
        others = (drawn * (len(self.indices) - 1)).astype(np.int64)
        # Past the clip's own place, which for an only clip comes round to itself.
        others = (others + (others >= own)) % len(self.indices)
        keys = view_keys(batch["keys"], int(Stream.BACKGROUND))
        background, num_samples = self.cut(self.indices[others], keys)
        return {**batch, "background": background, "background_samples": num_samples}


def choose_crops(keys: Tensor, num_samples: Ints, crop: int) -> Ints:
    """Where each crop starts: (batch,) sample numbers.

    Args:
        keys: (batch,) int64 of the draws.
        num_samples: (batch,) length of their clips.
        crop: length of a crop in samples.
    """
    room = np.maximum(num_samples - crop, 0)
    starts = np.floor(uniform(keys, Stream.CROP, 1)[:, 0].numpy() * (room + 1)).astype(np.int64)
    return np.minimum(starts, room)


def chosen_clips(draws: Sequence[int], seed: int, num_clips: int) -> tuple[Ints, Ints]:
    """Of each draw its pass and its clip: ``order(pass)[d mod n]`` of pass ``d div n``.

    Args:
        draws: their numbers.
        seed: of the order.
        num_clips: to draw from.
    """
    passes, places = np.divmod(np.asarray(draws, np.int64), num_clips)
    orders = {p: _order(seed, int(p), num_clips) for p in set(passes.tolist())}
    clips = [orders[p][q] for p, q in zip(passes.tolist(), places, strict=True)]
    return passes, np.array(clips, dtype=np.int64)


@lru_cache(maxsize=4)
def _order(seed: int, pass_number: int, num_clips: int) -> Ints:
    """A permutation of the clips that depends on seed and pass alone."""
    seeds = np.random.SeedSequence([seed, pass_number, int(Stream.ORDER)])
    return np.random.Generator(np.random.PCG64(seeds)).permutation(num_clips)


@dataclass(frozen=True)
class StepSampler(Sampler[list[int]]):
    """Numbers of the draws of each micro-batch of one process, from any step on.

    All processes together take draws in order: step ``s``, micro-batch ``a`` of process ``p`` takes
    ``batch_size`` draws from ``((s * accumulation + a) * num_processes + p) * batch_size``.
    """

    batch_size: int
    accumulation: int
    first_step: int
    last_step: int
    process: int
    num_processes: int

    def __iter__(self) -> Iterator[list[int]]:
        for micro in range(self.first_step * self.accumulation, self.last_step * self.accumulation):
            start = (micro * self.num_processes + self.process) * self.batch_size
            yield list(range(start, start + self.batch_size))

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * self.accumulation


class BatchStream(IterableDataset, ABC):
    """Endless batches in an order of its own."""

    @abstractmethod
    def starting_at(self, batch: int) -> Self:
        """The same stream from one of its batches on."""


def build_loader(
    stream: Dataset | BatchStream, sampler: StepSampler, num_workers: int
) -> DataLoader:
    """Batches in the sampler's order, the same for any number of workers, or in the stream's."""
    settings: dict[str, Any] = {
        "num_workers": num_workers,
        "collate_fn": _as_is,
        "worker_init_fn": _outlive_stop_signals,
        "pin_memory": torch.cuda.is_available(),
    }
    if isinstance(stream, BatchStream):
        later = stream.starting_at(sampler.first_step * sampler.accumulation)
        return DataLoader(later, batch_size=None, **settings)
    return DataLoader(stream, batch_sampler=sampler, **settings)


def _as_is(batch: Any) -> Any:
    return batch


def _outlive_stop_signals(worker: int) -> None:
    """A signal to all processes of a run asks the main one to stop, which still needs its workers.

    Where workers are not forked, multiprocessing's own processes die of it none the less.
    """
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        threading.Thread(target=_end_when_main_process_says, daemon=True).start()


def _end_when_main_process_says() -> None:
    """To ignore all would hang a main process in which an error keeps the loader alive.

    multiprocessing then ends workers with SIGTERM and waits for them.
    """
    main = multiprocessing.parent_process()  # which a fork server is not
    assert main is not None
    while signal.sigwaitinfo(STOP_SIGNALS).si_pid != main.pid:
        pass
    os._exit(0)


def choose_evenly(corpus: PreparedCorpus, indices: Ints, hours: float = 1.0) -> Ints:
    """Every so many-th of (num_clips,) clips, about ``hours`` in all; all if they are fewer.

    For measuring a pool: constants and clusters that many hours would hardly change.
    """
    total = corpus.num_samples[indices].sum() / SAMPLE_RATE / 3600
    return indices[:: max(1, round(total / hours))]


def whole_clips(
    corpus: PreparedCorpus, indices: Ints, batch_size: int
) -> Iterator[tuple[Ints, Tensor, Tensor]]:
    """Every clip once, uncropped, the longest first so that batches hold little padding.

    Yields:
        indices (batch,) int64, waveform (batch, samples) int16, num_samples (batch,) int64.
    """
    by_length = indices[np.argsort(-corpus.num_samples[indices], kind="stable")]
    for first in range(0, len(by_length), batch_size):
        clips = by_length[first : first + batch_size]
        lengths = corpus.num_samples[clips]
        waveform = np.zeros((len(clips), int(lengths.max())), np.int16)
        for row, clip in zip(waveform, clips, strict=True):
            row[: corpus.num_samples[clip]] = corpus.views[clip]
        yield clips, torch.from_numpy(waveform), torch.from_numpy(lengths)
