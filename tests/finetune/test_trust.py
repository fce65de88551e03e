"""What validation clips leave in a classifier."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune import trust
from finetune.labels import MultiLabel, SingleLabel
from finetune.trust import NEVER_SURE, calibrate, hear_most, soften
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from tests.finetune.building import build_classifier

LABELS = ["a", "b", "a", "b", "a", "b", "a", "b"]


def build_corpus(labels: list[str]) -> PreparedCorpus:
    clips = tuple(Clip(clip_id=f"c{n}", path="", emotion=label) for n, label in enumerate(labels))
    views = tuple(np.zeros(1600, np.int16) for _ in labels)
    return PreparedCorpus(Path(), "made", clips, np.full(len(labels), 1600), "", views)


def answer_with(monkeypatch: pytest.MonkeyPatch, answers: np.ndarray) -> None:
    monkeypatch.setattr(trust, "predict_clips", lambda *_: answers)


def test_overconfident_answers_are_tempered(monkeypatch: pytest.MonkeyPatch) -> None:
    right = np.array([1, 1, 1, 0, 1, 0, 1, 1], bool)
    first = np.array([label == "a" for label in LABELS]) == right
    answer_with(monkeypatch, np.where(first[:, None], [0.999, 0.001], [0.001, 0.999]))
    classifier = build_classifier(classes=("a", "b"))
    calibrate(classifier, build_corpus(LABELS), np.arange(8), SingleLabel(("a", "b")), 0.7)
    sure = 1 / (1 + np.exp(-np.log(0.999 / 0.001) / classifier.config.temperature))
    assert sure == pytest.approx((6 + 1) / (8 + 2), abs=1e-3)  # six of eight, and one of each more
    assert classifier.config.unsure_below == pytest.approx(sure, abs=1e-6)
    calibrate(classifier, build_corpus(LABELS), np.arange(8), SingleLabel(("a", "b")), 0.9)
    assert classifier.config.unsure_below == NEVER_SURE


def test_a_few_right_answers_do_not_make_a_classifier_boundlessly_sure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = np.array([label == "a" for label in LABELS])
    answer_with(monkeypatch, np.where(first[:, None], [0.6, 0.4], [0.4, 0.6]))
    classifier = build_classifier(classes=("a", "b"))
    calibrate(classifier, build_corpus(LABELS), np.arange(8), SingleLabel(("a", "b")), None)
    sure = 1 / (1 + (0.4 / 0.6) ** (1 / classifier.config.temperature))
    assert sure == pytest.approx(9 / 10, abs=1e-3)
    assert classifier.config.unsure_below is None


def test_thresholds_of_several_classes_are_of_tempered_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the second class, clips of .3 and more hold it."""
    answers = np.stack(
        [np.linspace(0.9, 0.1, 8), np.array([0.3, 0.3, 0.3, 0.3, 0.3, 0.2, 0.1, 0.1])]
    )
    answer_with(monkeypatch, answers.T)
    labels = ["a|b"] * 4 + ["b"] + ["c"] * 3
    classifier = build_classifier(
        classes=("a", "b"), head_config={"kind": "multilabel"}, task="multilabel"
    )
    corpus = build_corpus([label.replace("c", "a") for label in labels])
    calibrate(classifier, corpus, np.arange(8), MultiLabel(("a", "b")), None)
    scale = classifier.config.temperature
    low, high = (1 / (1 + ((1 - p) / p) ** (1 / scale)) for p in (0.2, 0.3))
    assert low < classifier.config.thresholds[1] <= high


def test_a_class_is_heard_where_its_clips_are_told_from_others() -> None:
    """What thresholds of moments are chosen by: the greatest probability of any window."""
    classifier = build_classifier(windows={"seconds": 0.4, "hop_seconds": 0.2})
    generator = np.random.default_rng(0)
    corpus = build_corpus(["a"] * 3)
    views = tuple(generator.integers(-9000, 9000, n).astype(np.int16) for n in (1600, 9000, 20000))
    corpus = replace(corpus, views=views)
    heard = hear_most(classifier, corpus, np.array([2, 0]))
    for row, index in zip(heard, (2, 0), strict=True):
        samples = torch.from_numpy(views[index] / np.float32(32768)).float()
        over_time = classifier.probabilities_over_time(samples).probabilities
        assert row == pytest.approx(over_time.max(0), abs=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
def test_softened_targets_stay_targets(exclusive: bool) -> None:
    soft = soften(np.eye(4)[[0, 1, 1, 3, 2, 0]], exclusive)
    assert (soft > 0).all() and (soft < 1).all()
    assert not exclusive or np.allclose(soft.sum(1), 1)
    wanted = 7 / 10 if exclusive else 7 / 8
    assert soft.max() == pytest.approx(wanted)
