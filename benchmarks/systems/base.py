"""The contract of a system: what it is given, what it must answer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.systems.feature_cache import FeatureCache
from ssl_audio.config import Config

Int16 = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
SettingsType = TypeVar("SettingsType", bound=Config)


@dataclass(frozen=True)
class UnlabelledClips:
    """Clips to be judged: their audio and nothing else, so nothing else can be learnt from them."""

    waveforms: Sequence[Int16]
    """Per clip, (samples,) int16, mono at 16 kHz."""


@dataclass(frozen=True)
class LabelledClips:
    """Clips to learn from, or to choose by."""

    waveforms: Sequence[Int16]
    """Per clip, (samples,) int16, mono at 16 kHz."""
    labels: npt.NDArray[np.int64]
    """(clips,) int64 indices of the system's classes."""
    speakers: tuple[str | None, ...]
    """Per clip; None where unknown."""
    inner: npt.NDArray[np.int64] | None = None
    """(clips,) which inner fold holds the clip out while settings are chosen, if the protocol
    chooses by cross-validation; None: settings are chosen on the validation clips."""

    def take(self, chosen: npt.NDArray[np.bool_]) -> "LabelledClips":
        """The chosen clips, outside any inner fold."""
        places = np.flatnonzero(chosen).tolist()
        return LabelledClips(
            [self.waveforms[place] for place in places],
            self.labels[places],
            tuple(self.speakers[place] for place in places),
        )


class System(ABC, Generic[SettingsType]):
    """One row of the table: learns from labelled clips, then judges others.

    Its answer on a clip depends on no other clip of the call, and equal seeds give equal answers.
    Clips for validation may choose settings or stop the training, and nothing more, so that every
    system learns from the same clips; where the protocol has inner folds, a system that chooses by
    them, or chooses nothing, learns from both parts in the end (``selection``), and one that needs
    clips to stop by keeps to ``train``.
    """

    title: ClassVar[str]
    """Name of the row as printed; a recipe may give another."""
    settings_type: ClassVar[type[Config]] = Config
    """Configuration that recipes may change; its defaults are the base recipe."""

    def __init__(
        self, settings: SettingsType, classes: tuple[str, ...], seed: int, cache: FeatureCache
    ) -> None:
        self.settings = settings
        self.classes = classes
        self.seed = seed
        self.cache = cache

    @classmethod
    def suffix(cls, settings: SettingsType) -> str:
        """What the settings add to the row's name, whoever gives it: ``, random weights``."""
        return ""

    @classmethod
    def check(cls, settings: SettingsType) -> None:
        """Refuses, before the first run starts, settings that can't be run here.

        Raises:
            UserError: with what is missing.
        """

    def saw(self, clips: UnlabelledClips) -> bool:
        """Whether the audio of one of these clips was in the pool that the weights saw before."""
        return False

    @property
    def choices(self) -> dict[str, Any]:
        """Made by probing: ``device``, ``precision`` and the like; empty if none."""
        return {}

    @property
    def parameters(self) -> int | None:
        """Number of fitted weights; None where the count means nothing."""
        return None

    @property
    def pretraining_data(self) -> str:
        """Pool that the weights saw before; empty if none."""
        return ""

    @property
    def weights(self) -> str:
        """Pretrained weights that fitting started from, by name and sha256; empty if none."""
        return ""

    @property
    def training_share(self) -> float:
        """Of the training clips, how many it learns from by choice."""
        return 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the row must know."""
        return ()

    @abstractmethod
    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Learns from ``train``; ``validation`` has other speakers and only chooses."""

    @abstractmethod
    def predict(self, clips: UnlabelledClips) -> Floats:
        """(clips, classes) float64 probabilities; rows sum to 1."""


def spread(probabilities: Floats, present: npt.NDArray[np.int64], num_classes: int) -> Floats:
    """Probability 0 for the classes that the training clips lacked.

    Args:
        probabilities: (clips, present classes) float64.
        present: (present classes,) int64 indices of the columns.
        num_classes: of the answer.

    Returns:
        (clips, num_classes) float64.
    """
    full = np.zeros((len(probabilities), num_classes))
    full[:, present] = probabilities
    return full


def to_float(waveform: Int16, at_least: int) -> npt.NDArray[np.float32]:
    """Audio as librosa wants it.

    Args:
        waveform: (samples,) int16.
        at_least: samples; a shorter clip is completed with zeros, as a window must fit into it.

    Returns:
        (max(samples, at_least),) float32 in [-1, 1].
    """
    samples = waveform.astype(np.float32) / 32768
    return np.pad(samples, (0, max(0, at_least - len(samples))))
