"""Settings are chosen inside the fold: on its validation clips, or by its inner folds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from benchmarks.systems.base import Floats, Int16, LabelledClips
from finetune import metrics

Candidate = TypeVar("Candidate")
Model = TypeVar("Model")


def choose_and_fit(
    candidates: Sequence[Candidate],
    fit: Callable[[Candidate, LabelledClips], Model],
    answer: Callable[[Model, Sequence[Int16]], Floats],
    train: LabelledClips,
    validation: LabelledClips,
) -> Model:
    """The model of the candidate with the best UAR; of equals, the first.

    Where the protocol has inner folds, the UAR is the mean over them, and the best candidate is
    fitted anew to all clips of the training speakers. Elsewhere the models fitted to ``train``
    compete on ``validation``, and the best of them is the answer.

    Args:
        candidates: settings to choose among.
        fit: makes a model from one of them and clips.
        answer: (clips, classes) probabilities of a model.
        train: clips to learn from.
        validation: clips of other speakers.
    """
    if len(candidates) == 1:
        return fit(candidates[0], clips_to_fit(train, validation))
    if train.inner is None or validation.inner is None:
        models = [fit(candidate, train) for candidate in candidates]
        return models[_first_best(_score(model, answer, validation) for model in models)]
    scores = np.zeros(len(candidates))
    for rest, held_out in inner_splits(train, validation):
        for index, candidate in enumerate(candidates):
            scores[index] += _score(fit(candidate, rest), answer, held_out)
    return fit(candidates[_first_best(scores)], clips_to_fit(train, validation))


def inner_splits(
    train: LabelledClips, validation: LabelledClips
) -> Iterator[tuple[LabelledClips, LabelledClips]]:
    """For each inner fold, the rest to learn from and the clips held out to choose by.

    Args:
        train: clips to learn from; nothing is given where the protocol has no inner folds.
        validation: clips of other speakers, in inner folds as well.
    """
    if train.inner is None or validation.inner is None:
        return
    together = _concatenate(train, validation)
    inner = np.concatenate([train.inner, validation.inner])
    for number in np.unique(inner):
        yield together.take(inner != number), together.take(inner == number)


def clips_to_fit(train: LabelledClips, validation: LabelledClips) -> LabelledClips:
    """What a system that chooses nothing learns from, so that it hears the same speakers as others.

    Args:
        train: clips to learn from.
        validation: clips of other speakers, learnt from too where the protocol has inner folds.
    """
    return train if train.inner is None else _concatenate(train, validation)


def _concatenate(first: LabelledClips, second: LabelledClips) -> LabelledClips:
    return replace(
        first,
        waveforms=[*first.waveforms, *second.waveforms],
        labels=np.concatenate([first.labels, second.labels]),
        speakers=first.speakers + second.speakers,
        inner=None,
    )


def _score(
    model: Model, answer: Callable[[Model, Sequence[Int16]], Floats], clips: LabelledClips
) -> float:
    confusion = metrics.confusion_matrix(clips.labels, answer(model, clips.waveforms))
    return float(metrics.uar(confusion))


def _first_best(scores: Iterable[float]) -> int:
    return int(np.argmax(list(scores)))
