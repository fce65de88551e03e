"""Support vector machines on scaled features, with probabilities that keep their decisions."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.systems.base import Floats
from benchmarks.systems.classic import Candidates, Classifier

Ints = npt.NDArray[np.int64]

NUM_CALIBRATION_FOLDS = 5
TEMPERATURES = (0.01, 100.0)
"""Least and most; decisions differ by about one from class to class."""


class SoftmaxSVC(SVC):
    """SVC whose probabilities are the softmax of its decisions, so that both name one class."""

    def __init__(
        self,
        *,
        C: float = 1.0,
        kernel: str = "rbf",
        gamma: float | str = "scale",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(C=C, kernel=kernel, gamma=gamma, break_ties=True)
        self.temperature = temperature

    def compute_scores(self, features: Floats) -> Floats:
        """(clips, classes) float64 decisions, one against the rest; also of two classes."""
        decisions = self.decision_function(features)
        return decisions if decisions.ndim == 2 else np.stack([-decisions, decisions], axis=1)

    def predict_proba(self, features: Floats) -> Floats:
        """(clips, classes) float64; rows sum to 1."""
        probabilities: Floats = softmax(self.compute_scores(features) / self.temperature, axis=1)
        return probabilities


class SupportVectors(Classifier):
    """What the kernels share: one temperature makes probabilities of the chosen model's decisions.

    It is fitted by likelihood to decisions on training speakers held out in turn, five groups of
    them, and the model stays as it was: five more fits, once for each fold. scikit-learn's
    ``SVC(probability=True)`` calibrates on clips of speakers it has heard, may contradict its own
    decision, and goes away; its ``CalibratedClassifierCV(method="temperature", ensemble=False)``
    gives what is given here (a test compares them), but fails where a class has one speaker only.
    """

    inverse_penalties: Candidates
    """Candidates for scikit-learn's C."""

    @abstractmethod
    def build_machines(self) -> list[SoftmaxSVC]:
        """Not fitted, strongest penalty first."""

    def build_candidates(self, seed: int) -> list[Pipeline]:
        """Every machine on scaled features; they draw nothing, so that the seed plays no part."""
        return [make_pipeline(StandardScaler(), machine) for machine in self.build_machines()]

    def calibrate(
        self, model: Pipeline, features: Floats, labels: Ints, speakers: Sequence[str | None]
    ) -> Pipeline:
        """The same model at the temperature that suits speakers it has not heard."""
        groups = group_clips(features, speakers)
        model[-1].set_params(temperature=choose_temperature(model, features, labels, groups))
        return model

    def count_weights(self, model: Pipeline) -> int:
        """Support vectors, their coefficients and the biases."""
        machine = model[-1]
        parts = (machine.support_vectors_, machine.dual_coef_, machine.intercept_)
        return sum(int(part.size) for part in parts)


class RbfSupportVectors(SupportVectors):
    """Radial basis functions: the usual kernel where features are few."""

    inverse_penalties: Candidates = (1.0, 3.0, 10.0, 30.0, 100.0)
    gammas: Candidates = (0.001, 0.003, 0.01)
    """Candidates for scikit-learn's gamma, whose own choice is 1 / 80 for 80 scaled features."""

    def build_machines(self) -> list[SoftmaxSVC]:
        """Every penalty with every width, the widest first."""
        pairs = product(self.inverse_penalties, self.gammas)
        return [SoftmaxSVC(C=penalty, gamma=gamma) for penalty, gamma in pairs]


class LinearSupportVectors(SupportVectors):
    """A linear kernel, as eGeMAPS was published with."""

    inverse_penalties: Candidates = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

    def build_machines(self) -> list[SoftmaxSVC]:
        """One for each penalty."""
        return [SoftmaxSVC(C=penalty, kernel="linear") for penalty in self.inverse_penalties]


def group_clips(features: Floats, speakers: Sequence[str | None]) -> list[str]:
    """What has to be held out together: a speaker's clips.

    A clip of nobody known stands for itself and its copies, and so does every clip where all are
    of one speaker.

    Args:
        features: (clips, features) float64.
        speakers: per clip; None where unknown.
    """
    contents = np.unique(features, axis=0, return_inverse=True)[1]
    one_speaker = len(set(speakers)) == 1
    return [
        f"content {content}" if one_speaker or speaker is None else f"speaker {speaker}"
        for speaker, content in zip(speakers, contents, strict=True)
    ]


def choose_temperature(
    model: Pipeline, features: Floats, labels: Ints, groups: Sequence[str]
) -> float:
    """The temperature that makes decisions on groups held out most likely.

    Groups whose rest lacks a class are left out, as its decisions there would mean nothing; with
    none left the temperature stays 1.

    Args:
        model: its settings are used, not what it was fitted to; ends in a ``SoftmaxSVC``.
        features: (clips, features) float64.
        labels: (clips,) int64.
        groups: per clip.
    """
    parts = list(_score_held_out(model, features, labels, groups))
    if not parts:
        return 1.0
    scores, truths = (np.concatenate(part) for part in zip(*parts, strict=True))
    present = np.unique(labels)

    def measure_surprise(log_temperature: float) -> float:
        probabilities = softmax(scores / np.exp(log_temperature), axis=1)
        return float(log_loss(truths, probabilities, labels=present))

    found = minimize_scalar(measure_surprise, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def _score_held_out(
    model: Pipeline, features: Floats, labels: Ints, groups: Sequence[str]
) -> Iterator[tuple[Floats, Ints]]:
    num_folds = min(NUM_CALIBRATION_FOLDS, len(set(groups)))
    if num_folds < 2:
        return
    for rest, held_out in GroupKFold(num_folds).split(features, labels, groups):
        if len(np.unique(labels[rest])) == len(np.unique(labels)):
            part = clone(model).fit(features[rest], labels[rest])
            yield part[-1].compute_scores(part[:-1].transform(features[held_out])), labels[held_out]
