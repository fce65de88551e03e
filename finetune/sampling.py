"""Streams of labelled crops, and which of the training clips are drawn."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from finetune.labels import Shares
from ssl_audio.data.manifest import Clip
from ssl_audio.data.stream import CropStream, Ints, chosen_clips


@dataclass(frozen=True)
class LabelledStream(CropStream):
    """Crops with their labels.

    Attributes:
        targets: (clips of the corpus, classes) float32; only those of ``indices`` are read.
        groups: (clips of the corpus,) int64; clips of one group may be mixed with each other.
    """

    targets: Shares
    groups: npt.NDArray[np.int64]

    def __getitems__(self, draws: Sequence[int]) -> dict[str, Tensor]:
        """A ``Batch`` with ``targets`` (batch, classes) and ``groups`` (batch,) int64."""
        batch = super().__getitems__(draws)
        clips = batch["clip_indices"].numpy()
        return {
            **batch,
            "targets": torch.from_numpy(self.targets[clips]),
            "groups": torch.from_numpy(self.groups[clips]),
        }


class BalancedStream(LabelledStream):
    """Every so many draws hold each class once; within a class its clips take turns."""

    def choose(self, draws: Sequence[int]) -> tuple[Ints, Ints]:
        """See CropStream: draw ``d`` is of the round ``d div classes``."""
        of_class = self.targets[self.indices].argmax(1)
        present = np.unique(of_class)
        rounds, places = chosen_clips(draws, self.seed, len(present))
        passes, clips = np.zeros_like(rounds), np.zeros_like(rounds)
        for label in np.unique(present[places]):
            rows = np.flatnonzero(present[places] == label)
            members = np.flatnonzero(of_class == label)
            passes[rows], chosen = chosen_clips(rounds[rows].tolist(), self.seed, len(members))
            clips[rows] = members[chosen]
        return passes, clips


def choose_share(clips: Sequence[Clip], targets: Shares, share: float, seed: int) -> Ints:
    """Places of a share of the clips of each class, sorted; a smaller share is part of a larger.

    Args:
        clips: to choose from.
        targets: (clips, classes); a clip of several classes counts for its first.
        share: in (0, 1]; at least one clip of each class stays.
        seed: of the choice.
    """
    of_class = targets.argmax(1)
    chosen = []
    for label in np.unique(of_class):
        rows = np.flatnonzero(of_class == label).tolist()
        members = sorted(rows, key=lambda row: _hash(clips[row], seed))
        chosen += members[: max(1, round(share * len(members)))]
    return np.array(sorted(chosen), dtype=np.int64)


def _hash(clip: Clip, seed: int) -> str:
    return hashlib.sha256(f"{seed} {clip.clip_id}".encode()).hexdigest()
