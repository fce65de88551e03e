"""From probabilities to what is said: one class, several, or that nobody can tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.model import AudioClassifierConfig
from finetune.timeline import LEAST_SECONDS, OverTime, Segment, to_segments
from ssl_audio.data.manifest import BETWEEN_EMOTIONS

DONT_KNOW = "don't know"


@dataclass(frozen=True)
class AnswerRule:
    """How a classifier's probabilities are read.

    Attributes:
        classes: names of the probabilities.
        task: ``single`` and ``gender-emotion`` have one class for each clip, ``multilabel`` any
            number of them.
        thresholds: of ``multilabel``, one per class; none means 0.5 for all.
        unsure_below: with one class, the probability below which the answer is ``don't know``;
            None: there is always an answer.
        moment_thresholds: of ``multilabel``, one per class for what is heard when; none means
            ``thresholds``.
    """

    classes: tuple[str, ...]
    task: str = "single"
    thresholds: tuple[float, ...] = ()
    unsure_below: float | None = None
    moment_thresholds: tuple[float, ...] = ()

    @classmethod
    def of(cls, config: AudioClassifierConfig) -> "AnswerRule":
        """What a classifier's configuration says."""
        return cls(
            classes=tuple(config.classes),
            task=config.task,
            thresholds=tuple(config.thresholds),
            unsure_below=config.unsure_below,
            moment_thresholds=tuple(config.moment_thresholds),
        )

    def best(self, probabilities: Sequence[float] | npt.NDArray[Any]) -> str:
        """The most probable class, or every class that reaches its threshold, ``|`` between them.

        >>> AnswerRule(("calm", "sad"), "multilabel").best([0.7, 0.5])
        'calm|sad'

        Args:
            probabilities: one per class.
        """
        if self.task != "multilabel":
            return self.likeliest(probabilities)
        limits = self.thresholds or (0.5,) * len(self.classes)
        chosen = zip(self.classes, probabilities, limits, strict=True)
        return BETWEEN_EMOTIONS.join(name for name, p, limit in chosen if p >= limit)

    def likeliest(self, probabilities: Sequence[float] | npt.NDArray[Any]) -> str:
        """The most probable class, also where several can be right or none need be.

        Args:
            probabilities: one per class.
        """
        return self.classes[int(np.argmax(probabilities))]

    def answer(self, probabilities: Sequence[float] | npt.NDArray[Any]) -> str:
        """As ``best``, unless the rule is not sure of it.

        >>> AnswerRule(("calm", "sad"), unsure_below=0.6).answer([0.55, 0.45])
        "don't know"

        Args:
            probabilities: one per class.
        """
        if self.task == "multilabel" or self.unsure_below is None:
            return self.best(probabilities)
        sure = float(np.max(probabilities)) >= self.unsure_below
        return self.best(probabilities) if sure else DONT_KNOW

    def segments(self, over_time: OverTime, least_seconds: float = LEAST_SECONDS) -> list[Segment]:
        """See ``to_segments``; which of them are sure is for their reader to say."""
        limits = self.moment_thresholds or self.thresholds or None
        return to_segments(over_time, self.classes, self.task, limits, least_seconds)
