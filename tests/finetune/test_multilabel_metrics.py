import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from finetune.multilabel_metrics import (
    compute_multilabel_metrics,
    decide_classes,
    f1_by_class,
    mean_average_precision,
)

CLASSES = ("angry", "calm", "happy", "sad")


def draw(seed, num_clips, num_classes=4, absent=()):
    """Targets with at least one class somewhere, and probabilities that often tie."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (num_clips, num_classes))
    targets[:, list(absent)] = 0
    targets[0, 0] = 1
    return targets, rng.random((num_clips, num_classes)).round(1), rng.random(num_classes)


def slow_average_precision(there, answers):
    """Sum over thresholds, highest first, of the gain in recall times the precision."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(answers), reverse=True):
        said = answers >= threshold
        recall = (said & (there == 1)).sum() / there.sum()
        total += (recall - before) * (said & (there == 1)).sum() / said.sum()
        before = recall
    return total


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_mean_average_precision_is_scikit_learns(seed, num_clips):
    targets, probabilities, _ = draw(seed, num_clips)
    present = targets.any(0)
    expected = [
        average_precision_score(targets[:, i], probabilities[:, i]) for i in np.flatnonzero(present)
    ]
    assert mean_average_precision(targets, probabilities) == pytest.approx(np.mean(expected))


def slow_ranking_precision(row, answers):
    """Mean over the clip's classes of the share of its classes among those ranked as high."""
    held = np.flatnonzero(row)
    if len(held) in (0, len(row)):
        return 1.0
    shares = []
    for one in held:
        above = answers >= answers[one]
        shares.append((above & (row == 1)).sum() / above.sum())
    return np.mean(shares)


def slow_f1(there, said):
    both = sum(1 for t, s in zip(there, said, strict=True) if t and s)
    return 2 * both / (there.sum() + said.sum())


@given(
    st.integers(0, 10_000),
    st.integers(1, 25),
    st.integers(1, 4),
    st.sets(st.integers(1, 3), max_size=3),
)
def test_scores_equal_slow_loops(seed, num_clips, num_classes, absent):
    absent = [index for index in absent if index < num_classes]
    targets, probabilities, thresholds = draw(seed, num_clips, num_classes, absent)
    classes = CLASSES[:num_classes]
    said = np.array(
        [[int(p >= t) for p, t in zip(row, thresholds, strict=True)] for row in probabilities]
    )
    present = [index for index in range(num_classes) if targets[:, index].sum()]
    f1 = {classes[index]: slow_f1(targets[:, index], said[:, index]) for index in present}
    expected = {
        "macro_f1": np.mean(list(f1.values())),
        "mean_ap": np.mean(
            [slow_average_precision(targets[:, i], probabilities[:, i]) for i in present]
        ),
        "hamming": np.mean(targets != said),
        "subset_accuracy": np.mean([(t == s).all() for t, s in zip(targets, said, strict=True)]),
        "label_ranking_ap": np.mean(
            [slow_ranking_precision(t, p) for t, p in zip(targets, probabilities, strict=True)]
        ),
    }
    scores = compute_multilabel_metrics(targets, probabilities, thresholds, classes)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert scores.keys() - expected.keys() == {"calibration_error"}
    assert all(0 <= score <= 1 for score in scores.values())
    assert f1_by_class(targets, probabilities, thresholds, classes) == pytest.approx(f1)


def test_calibration_error_is_that_of_every_yes_and_no():
    """At 0.8 three of five answers are right, at 0.1 (a no of 0.9) all three are."""
    probabilities = np.array([[0.8, 0.8, 0.8, 0.8], [0.8, 0.1, 0.1, 0.1]])
    targets = np.array([[1, 1, 1, 0], [0, 0, 0, 0]])
    scores = compute_multilabel_metrics(targets, probabilities, np.full(4, 0.5), CLASSES)
    assert scores["calibration_error"] == pytest.approx((5 * (0.8 - 0.6) + 3 * (1 - 0.9)) / 8)


def test_a_class_that_no_clip_holds_costs_only_where_it_is_named():
    targets = np.array([[1, 0], [1, 0]])
    probabilities = np.array([[0.9, 0.2], [0.9, 0.7]])
    scores = compute_multilabel_metrics(targets, probabilities, np.full(2, 0.5), CLASSES[:2])
    assert (scores["macro_f1"], scores["mean_ap"]) == (1, 1)
    assert (scores["hamming"], scores["subset_accuracy"]) == (0.25, 0.5)
    assert f1_by_class(targets, probabilities, np.full(2, 0.5), CLASSES[:2]) == {"angry": 1}


def test_a_class_is_there_from_its_own_threshold_on():
    probabilities = np.array([[0.3, 0.3], [0.29, 0.6]])
    decided = decide_classes(probabilities, np.array([0.3, 0.6]))
    assert decided.tolist() == [[1, 0], [0, 1]]
    assert decided.dtype == np.int64


@pytest.mark.parametrize(
    ("targets", "probabilities", "thresholds", "message"),
    [
        (np.eye(2), np.eye(3), np.zeros(2), r"got \(2, 2\), \(3, 3\) and 2"),
        (np.eye(2), np.eye(2), np.zeros(3), "and 2 thresholds, got .* and 3"),
        (np.eye(3), np.eye(3), np.zeros(3), r"\(clips, 2\)"),
        (np.full((2, 2), 2), np.eye(2), np.zeros(2), "targets must be 0 or 1, got 2"),
        (np.zeros((2, 2)), np.eye(2), np.zeros(2), "none of 2 clips holds a class"),
        (np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(2), "none of 0 clips"),
    ],
)
def test_what_does_not_fit_is_refused(targets, probabilities, thresholds, message):
    for score in (compute_multilabel_metrics, f1_by_class):
        with pytest.raises(ValueError, match=message):
            score(targets, probabilities, thresholds, CLASSES[:2])
