"""Label spaces: which classes there are, in which order, and what a clip's labels say of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune.gender_emotion import joint_scores
from finetune.metrics import compute_metrics, confusion_matrix, uar
from finetune.multilabel_metrics import compute_multilabel_metrics, mean_average_precision
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

Floats = npt.NDArray[np.float64]
Shares = npt.NDArray[np.float32]
GENDERS = ("female", "male")


@dataclass(frozen=True)
class LabelSpace(ABC):
    """What is to be told of a clip.

    Attributes:
        classes: in the order of the columns of targets and probabilities.
    """

    classes: tuple[str, ...]

    @abstractmethod
    def encode(self, clips: Sequence[Clip]) -> Shares:
        """(clips, classes) float32 targets in [0, 1].

        Raises:
            DataError: a clip has no label, or one that is not among the classes.
        """

    @abstractmethod
    def score(
        self, targets: Shares, probabilities: Floats, thresholds: Sequence[float]
    ) -> dict[str, float]:
        """Scores of (clips, classes) probabilities; see ``headline``."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """The score that the best step is chosen by."""

    @abstractmethod
    def score_headline(self, targets: Shares, probabilities: Floats) -> float:
        """That score alone, which is sooner there."""


class SingleLabel(LabelSpace):
    """Every clip has exactly one of the classes; joint classes of gender and emotion are such."""

    headline = "uar"

    def encode(self, clips: Sequence[Clip]) -> Shares:
        """See LabelSpace: one-hot."""
        position = {name: index for index, name in enumerate(self.classes)}
        _refuse_odd([clip for clip in clips if clip.emotion not in position], clips, self.classes)
        places = [position[str(clip.emotion)] for clip in clips]
        return np.eye(len(self.classes), dtype=np.float32)[places]

    def score(
        self, targets: Shares, probabilities: Floats, thresholds: Sequence[float]
    ) -> dict[str, float]:
        """See LabelSpace: UAR and its companions; thresholds are not asked."""
        return compute_metrics(targets.argmax(1), probabilities, self.classes)

    def score_headline(self, targets: Shares, probabilities: Floats) -> float:
        """See LabelSpace: UAR."""
        return float(uar(confusion_matrix(targets.argmax(1), probabilities)))


class GenderEmotion(SingleLabel):
    """Joint classes ``gender_emotion``."""

    def score(
        self, targets: Shares, probabilities: Floats, thresholds: Sequence[float]
    ) -> dict[str, float]:
        """See SingleLabel; also of gender alone, of emotion alone, and between women and men."""
        confusion = confusion_matrix(targets.argmax(1), probabilities)
        parts = {name: float(of(confusion)) for name, of in joint_scores(self.classes).items()}
        return {**super().score(targets, probabilities, thresholds), **parts}


class MultiLabel(LabelSpace):
    """A clip holds any number of the classes."""

    headline = "mean_ap"

    def encode(self, clips: Sequence[Clip]) -> Shares:
        """See LabelSpace: 1 for every emotion that the clip holds."""
        known = set(self.classes)
        odd = [clip for clip in clips if not clip.emotions or not known.issuperset(clip.emotions)]
        _refuse_odd(odd, clips, self.classes)
        holds = [[name in clip.emotions for name in self.classes] for clip in clips]
        return np.array(holds, dtype=np.float32).reshape(len(clips), len(self.classes))

    def score(
        self, targets: Shares, probabilities: Floats, thresholds: Sequence[float]
    ) -> dict[str, float]:
        """See LabelSpace: mean average precision and its companions."""
        return compute_multilabel_metrics(
            (targets >= 0.5).astype(np.int64), probabilities, np.array(thresholds), self.classes
        )

    def score_headline(self, targets: Shares, probabilities: Floats) -> float:
        """See LabelSpace: mean average precision."""
        return mean_average_precision((targets >= 0.5).astype(np.int64), probabilities)


LABEL_SPACES: dict[str, type[LabelSpace]] = {
    "single": SingleLabel,
    "multilabel": MultiLabel,
    "gender-emotion": GenderEmotion,
}
"""By a protocol's task."""


def split_joint(classes: Sequence[str]) -> tuple[str, ...]:
    """The emotions of joint classes ``gender_emotion``, which must be every pair, gender-major.

    Raises:
        DataError: other classes, with what was expected.
    """
    half = len(classes) // 2
    genders = [name.partition("_")[0] for name in (classes[0], classes[-1])]
    emotions = tuple(name.partition("_")[2] for name in classes[:half])
    wanted = tuple(f"{gender}_{emotion}" for gender in genders for emotion in emotions)
    if sorted(genders) != list(GENDERS) or not all(emotions) or tuple(classes) != wanted:
        raise DataError(
            "a factorised head needs every emotion of one gender and then, in the same order, of "
            f"the other: female_a, female_b, male_a, male_b, or men first; got {', '.join(classes)}"
        )
    return emotions


def gender_groups(targets: Shares, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """(clips,) place among ``GENDERS`` of the gender that (clips, joint classes) targets name."""
    of_class = np.array([GENDERS.index(name.partition("_")[0]) for name in classes])
    groups: npt.NDArray[np.int64] = of_class[targets.argmax(1)]
    return groups


def _refuse_odd(odd: Sequence[Clip], clips: Sequence[Clip], classes: Sequence[str]) -> None:
    if odd:
        raise DataError(
            f"{len(odd)} of {len(clips)} clips have no label among {', '.join(classes)}; "
            f"first {odd[0].clip_id} with {odd[0].emotion!r}"
        )
