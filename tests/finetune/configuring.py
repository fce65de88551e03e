"""Configurations of quick runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.config import FinetuneConfig
from ssl_audio.config import load_config
from ssl_audio.data.prepared import PreparedCorpus

PROTOCOL = "synthetic-3/speakers6"
CLASSES = ("neutral", "happy", "angry")
FAST = ["train.precision=float32", "train.attention=eager", "data.crop_seconds=1.0"]


def configure(prepared: Path, *more: str) -> FinetuneConfig:
    data = [f"data.corpus={prepared}", f"data.folds={PROTOCOL}"]
    steps = ["train.max_steps=6", "train.batch_size=8", "train.warmup_steps=1"]
    rest = ["evaluate_every=2", "train.save_every=2", "train.log_every=2"]
    return load_config(FinetuneConfig, None, [*data, *FAST, *steps, *rest, *more])


class Answering:
    """In the place of ``predict_clips``: of all clips the first so many are told right.

    Args:
        right: look by look.
    """

    def __init__(self, right: Iterator[int]) -> None:
        self.right = right
        self.asked: list[Any] = []

    def __call__(
        self, classifier: Any, corpus: PreparedCorpus, indices: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """(clips, classes), each 0 or 1."""
        self.asked.append(classifier)
        truth = np.array([CLASSES.index(str(corpus.clips[index].emotion)) for index in indices])
        wrong = np.arange(len(truth)) >= next(self.right)
        return np.eye(len(CLASSES))[(truth + wrong) % len(CLASSES)]
