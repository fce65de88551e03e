"""Draws speakers from a world and refits classifiers on them, fold by fold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from benchmarks.simulation.config import ClassifierName, Design, World
from benchmarks.statistics import Floats
from finetune import metrics

Ints = npt.NDArray[np.int64]

SYSTEMS = ("system", "its equal", "weaker system")
"""The first two are exchangeable: equal by symmetry, but different on any data at hand."""

CLASSIFIERS: dict[ClassifierName, Callable[[int], Any]] = {
    "lda": lambda seed: LinearDiscriminantAnalysis(),
    "logistic_regression": lambda seed: LogisticRegression(tol=1e-2),
    "naive_bayes": lambda seed: GaussianNB(),
    # Like a network, it comes out different with every seed.
    "random_subspace": lambda seed: BaggingClassifier(
        LinearDiscriminantAnalysis(), 1, max_features=0.75, bootstrap=False, random_state=seed
    ),
}
"""By name, made from a seed."""


@dataclass(frozen=True)
class Recordings:
    """Clips of some speakers, as the features that each system sees."""

    features: Floats
    """(systems, clips, features)."""
    labels: Ints
    """(clips,) classes."""
    speakers: Ints
    """(clips,) from 0."""


@dataclass(frozen=True)
class Trial:
    """What all systems decided on one data set, each clip by a classifier that never heard it."""

    confusion: Floats
    """(systems, speakers, classes, classes), tested speakers only."""
    folds: Ints
    """(speakers,) the fold in which each was tested."""
    correct: npt.NDArray[np.bool_]
    """(seeds, systems, clips)."""
    test_to_train: float
    """Speakers tested in a fold over speakers of all other folds."""


def draw_class_means(world: World, seed: int) -> Floats:
    """(classes, features): the same in every trial, as emotions are the same in every corpus."""
    shape = (world.num_classes, world.num_features)
    return world.separation * np.random.default_rng([seed]).standard_normal(shape)


def record(
    world: World,
    means: Floats,
    num_speakers: int,
    clips_per_class: tuple[int, int],
    rng: np.random.Generator,
) -> Recordings:
    """New speakers and their clips.

    Args:
        world: they come from.
        means: from ``draw_class_means``.
        num_speakers: to draw.
        clips_per_class: fewest and most of a speaker and class.
        rng: of every draw.
    """
    num_classes, num_features = means.shape
    counts = rng.integers(
        clips_per_class[0], clips_per_class[1], (num_speakers, num_classes), endpoint=True
    )
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    speakers, labels = np.divmod(cells, num_classes)

    def deviate(number: int) -> Floats:
        """(systems, number, features), standard normal, correlated between systems."""
        common = rng.standard_normal((1, number, num_features))
        own = rng.standard_normal((len(SYSTEMS), number, num_features))
        return np.sqrt(world.shared) * common + np.sqrt(1 - world.shared) * own

    expressiveness = np.exp(world.expressiveness * rng.standard_normal(num_speakers))
    strength = np.array([1.0, 1.0, world.weaker])
    features = (
        strength[:, None, None] * (expressiveness[speakers, None] * means[labels])
        + world.speaker_shift * deviate(num_speakers)[:, speakers]
        + world.speaker_by_class * deviate(counts.size)[:, cells]
        + deviate(len(cells))
    )
    return Recordings(features, labels, speakers)


def run_trial(world: World, design: Design, means: Floats, rng: np.random.Generator) -> Trial:
    """Draws a data set and refits every system on each fold's training speakers."""
    data = record(world, means, design.num_speakers, design.clips_per_class, rng)
    folds = np.arange(design.num_speakers) * design.num_folds // design.num_speakers
    num_tested = design.tested_folds or design.num_folds
    decided = np.empty((design.num_seeds, len(SYSTEMS), len(data.labels)), dtype=np.int64)
    for fold in range(num_tested):
        test = folds[data.speakers] == fold
        for seed, system in np.ndindex(decided.shape[:2]):
            features = data.features[system]
            classifier = _fit(design, features[~test], data.labels[~test], rng)
            decided[seed, system, test] = classifier.predict(features[test])
    tested = folds[data.speakers] < num_tested
    labels, speakers, decided = data.labels[tested], data.speakers[tested], decided[..., tested]
    folds = folds[folds < num_tested]
    confusion = np.zeros((len(SYSTEMS), len(folds), world.num_classes, world.num_classes))
    for seed, system in np.ndindex(decided.shape[:2]):
        np.add.at(confusion[system], (speakers, labels, decided[seed, system]), 1)
    return Trial(confusion, folds, decided == labels, 1 / (design.num_folds - 1))


def find_truth(
    world: World,
    design: Design,
    means: Floats,
    num_test_speakers: int,
    rng: np.random.Generator,
) -> Floats:
    """(systems,) UAR on many new speakers after training on as many as in a fold of the design."""
    num_train = design.num_speakers - design.num_speakers // design.num_folds
    train = record(world, means, num_train, design.clips_per_class, rng)
    test = record(world, means, num_test_speakers, design.clips_per_class, rng)
    uars = []
    for before, after in zip(train.features, test.features, strict=True):
        decided = _fit(design, before, train.labels, rng).predict(after)
        confusion = np.zeros((world.num_classes, world.num_classes))
        np.add.at(confusion, (test.labels, decided), 1)
        uars.append(metrics.uar(confusion))
    return np.stack(uars)


def _fit(design: Design, features: Floats, labels: Ints, rng: np.random.Generator) -> Any:
    classifier = CLASSIFIERS[design.classifier](int(rng.integers(2**31)))
    return classifier.fit(features, labels)
