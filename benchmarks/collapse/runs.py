"""Small runs with something wrong, and what the watch sees of them."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch.utils.data import Dataset

from benchmarks.collapse.case import Case
from ssl_audio.alarm import CollapseError
from ssl_audio.build import measure_normalisation
from ssl_audio.collapse import CollapseWatch, WatchConfig
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import CropStream
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.objectives import OBJECTIVES, Batch, Objective, ObjectiveConfig
from ssl_audio.optim import parameter_groups
from ssl_audio.session import Session, TrainConfig, start_accelerator
from ssl_audio.training import train

TRAIN: dict[str, Any] = {
    "max_steps": 200,
    "warmup_steps": 20,
    "batch_size": 16,
    "lr": 1e-3,
    "save_every": 1000,
}
ENCODER: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
_CROP_SECONDS = 0.8


@dataclass(frozen=True)
class Seen:
    """How a run went.

    Attributes:
        start: first step at which something was wrong.
        looks: step and values of each.
        alarm: level, step and words, if the run was stopped.
    """

    start: int
    looks: list[tuple[int, dict[str, float]]]
    alarm: tuple[str, int, str] | None

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


class Recorder(CollapseWatch):
    """Notes what it sees."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective, WatchConfig())
        self.looks: list[tuple[int, dict[str, float]]] = []

    def judge(self, step: int, values: dict[str, float], first: dict[str, float]) -> None:
        """As any watch."""
        self.looks.append((step, values))
        super().judge(step, values, first)


@dataclass(frozen=True)
class SpoiltStream(Dataset):
    """A stream that is broken from a step on."""

    stream: CropStream
    case: Case
    start: int
    batch_size: int

    def __getitems__(self, draws: list[int]) -> Batch:
        """A batch."""
        batch = self.stream.__getitems__(draws)
        step = draws[0] // self.batch_size + 1
        return self.case.spoil(batch) if self.case.spoil and step >= self.start else batch


def run_case(case: Case, corpus: PreparedCorpus, seed: int) -> Seen:
    """Trains a small encoder on the case.

    Args:
        case: what is wrong.
        corpus: prepared.
        seed: of weights, draws, and the step at which what is sudden begins: 2 to 120.
    """
    start = 2 + int(np.random.default_rng(seed).integers(119)) if case.sudden else 1
    config = TrainConfig(**{**TRAIN, "seed": seed, **case.train})
    torch.manual_seed(seed)
    indices = np.arange(len(corpus))[: case.clips]
    objective = build_objective(case, corpus, indices, seed)
    stream = CropStream(corpus, indices, seed, _CROP_SECONDS)
    recorder = Recorder(objective)

    def after_step(step: int, max_steps: int) -> None:
        objective.after_step(step, max_steps)
        if case.hold and step + 1 >= start:
            case.hold(objective)

    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder), start_accelerator("float32"), {}, {}, None)
        alarm = None
        try:
            train(
                objective,
                SpoiltStream(stream, case, start, config.batch_size),
                parameter_groups(objective, config.weight_decay),
                config,
                session,
                case.cause,
                after_step=after_step,
                watch=recorder,
            )
        except CollapseError as error:
            alarm = (error.level, error.step, str(error))
    return Seen(start, recorder.looks, alarm)


def build_objective(
    case: Case, corpus: PreparedCorpus, indices: np.ndarray, seed: int
) -> Objective:
    """With an encoder of the case's shape."""
    shape = AudioEncoderConfig(**{**ENCODER, **case.encoder})
    encoder = AudioEncoder(shape.with_attention("eager"))
    encoder.set_normalisation(*measure_normalisation(encoder.log_mel, corpus, indices))
    settings: Any = TypeAdapter(ObjectiveConfig).validate_python(case.objective)
    objective: Objective = OBJECTIVES[settings.kind](encoder, settings)
    # Where there is one clip, its clusters are still those of the corpus.
    objective.fit(corpus, np.arange(len(corpus)), seed)
    if case.build:
        case.build(objective)
    return objective
