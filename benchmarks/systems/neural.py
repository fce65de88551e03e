"""What networks of this table share: one stream of their inputs, the project's training loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import Dataset

from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import Int16, PreparedCorpus
from ssl_audio.data.stream import chosen_clips
from ssl_audio.draws import draw_keys
from ssl_audio.measuring import Evaluation, FirstLook
from ssl_audio.optim import parameter_groups
from ssl_audio.probing import choose_precision
from ssl_audio.session import Session, TrainConfig, start_accelerator
from ssl_audio.train_state import TrainState
from ssl_audio.training import train

UNREADABLE = (
    *(SafetensorError, UnpicklingError, EOFError),
    *(KeyError, RuntimeError, ValueError, OSError),
)
"""What safetensors and torch raise on files of weights that are none, or another model's."""

TrainType = TypeVar("TrainType", bound=TrainConfig)


def refuse_seed(config: TrainType) -> TrainType:
    """For a settings' validator: the seed of a run is the benchmark's.

    Raises:
        ValueError: the recipe of a row names one.
    """
    if config.seed:
        raise ValueError(
            f"seed must be left out, got {config.seed}: a run's seed is one of --seeds"
        )
    return config


def with_seed(config: TrainType, seed: int) -> TrainType:
    """The same training with the seed of a run."""
    return config.model_copy(update={"seed": seed})


def hold(waveforms: Sequence[Int16], clips: Sequence[Clip] | None = None) -> PreparedCorpus:
    """A corpus in memory.

    Args:
        waveforms: per clip, (samples,) int16.
        clips: what is known of each; None is nothing.
    """
    about = tuple(clips or [Clip(clip_id="", path="")] * len(waveforms))
    lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    return PreparedCorpus(Path(), "benchmark", about, lengths, "", tuple(waveforms))


@dataclass(frozen=True)
class ArrayStream(Dataset):
    """An endless, shuffled stream of features held in memory.

    Attributes:
        inputs: (clips, ...) of any type.
        labels: (clips,) int64.
        seed: decides the order.
    """

    inputs: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    seed: int

    def __getitems__(self, draws: Sequence[int]) -> dict[str, Tensor]:
        """``inputs`` (batch, ...), ``labels`` and ``keys`` (batch,) int64, see ``draws``."""
        passes, clips = chosen_clips(draws, self.seed, len(self.labels))
        return {
            "inputs": torch.from_numpy(self.inputs[clips]),
            "labels": torch.from_numpy(self.labels[clips]),
            "keys": draw_keys(self.seed, torch.from_numpy(passes), torch.from_numpy(clips)),
        }


@dataclass(frozen=True)
class Watch:
    """Looks at the validation clips while a network learns.

    Attributes:
        every: steps; the last step is always looked at.
        score: of the network in eval mode; higher is better.
        first_look: also before the first step, and what it shows is left only for something better;
            None does not.
    """

    every: int
    score: Callable[[], float]
    first_look: FirstLook | None = None


@dataclass(frozen=True)
class Trained:
    """How a training went.

    Attributes:
        state: where it ended, and which step was best.
        choices: ``precision`` and ``device``.
        notes: what a reader of the row must know.
    """

    state: TrainState
    choices: dict[str, Any]
    notes: tuple[str, ...]


def fit_network(
    module: nn.Module,
    stream: Dataset,
    config: TrainConfig,
    watch: Watch | None = None,
    groups: list[dict[str, Any]] | None = None,
    after_step: Callable[[int, int], None] | None = None,
) -> Trained:
    """Trains by the project's loop and leaves the module in eval mode, on the device.

    Args:
        module: takes a batch of the stream, returns a ``StepOutput``.
        stream: of training clips.
        config: how to train, with the run's seed.
        watch: chooses the best step, whose weights the module then has; None takes the last.
        groups: of parameters, see ``optim``; None is one learning rate for all.
        after_step: called with the step just taken and ``max_steps``.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = choose_precision(device) if config.precision == "auto" else config.precision
    choices = {"precision": precision, "device": str(device), "threads": torch.get_num_threads()}
    best: dict[str, Tensor] = {}

    def keep(_: int) -> None:
        best.update({name: tensor.clone() for name, tensor in module.state_dict().items()})

    evaluation = None
    if watch:
        score = watch.score
        evaluation = Evaluation(
            watch.every, lambda: {"score": score()}, "score", keep, lambda _: None, watch.first_look
        )
    groups = groups or parameter_groups(module, config.weight_decay)
    with TemporaryDirectory(prefix="ssl-audio-") as folder:
        session = Session(Path(folder), start_accelerator(precision), choices, {}, None)
        state = train(module, stream, groups, config, session, "training", evaluation, after_step)
    if best:
        module.load_state_dict(best)
    module.eval()
    cut = (f"budget cut at step {state.step} of {config.max_steps}",) if state.cut else ()
    return Trained(state, choices, cut)
