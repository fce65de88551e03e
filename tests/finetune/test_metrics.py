import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from finetune import metrics

CLASSES = ("angry", "calm", "happy", "sad")


def random_predictions(seed: int, num_clips: int, present: int = 4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, present, num_clips)
    return labels, rng.dirichlet(np.ones(len(CLASSES)), num_clips)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 4))
def test_scores_equal_scikit_learns_over_the_classes_present(seed, num_clips, present):
    labels, probabilities = random_predictions(seed, num_clips, present)
    decided = probabilities.argmax(axis=1)
    options = {"labels": np.unique(labels), "average": "macro", "zero_division": 0}
    scores = metrics.compute_metrics(labels, probabilities, CLASSES)
    assert scores["uar"] == pytest.approx(recall_score(labels, decided, **options))
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, decided, **options))
    assert scores["wa"] == pytest.approx(accuracy_score(labels, decided))
    assert all(0 <= score <= 1 for score in scores.values())


def test_calibration_error_equals_the_papers_loop():
    labels, probabilities = random_predictions(1, 200)
    confidence, decided = probabilities.max(axis=1), probabilities.argmax(axis=1)
    expected = 0.0
    bins = metrics.calibration_bins(labels, probabilities)
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            right = decided[inside] == labels[inside]
            assert bins[m] == pytest.approx([inside.sum(), confidence[inside].sum(), right.sum()])
            accuracy = np.mean(right)
            expected += inside.sum() / 200 * abs(accuracy - confidence[inside].mean())
    assert metrics.expected_calibration_error(labels, probabilities) == pytest.approx(expected)


def test_uniform_probabilities_score_chance_whatever_the_order_of_classes():
    labels = np.array([0] * 10 + [1] * 20 + [2] * 20 + [3] * 20)
    scores = metrics.compute_metrics(labels, np.full((70, 4), 0.25), CLASSES)
    assert scores["uar"] == pytest.approx(0.25)
    assert scores["wa"] == pytest.approx(0.25)
    assert scores["calibration_error"] == pytest.approx(0)


def test_a_stack_of_matrices_gives_a_stack_of_scores():
    stack = np.stack([metrics.confusion_matrix(*random_predictions(seed, 30)) for seed in range(5)])
    for score in (metrics.uar, metrics.wa, metrics.macro_f1):
        assert np.allclose(score(stack), [score(confusion) for confusion in stack])


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.array([0, 1]), np.full((2, 3), 1 / 3), "with at least one clip"),
        (np.array([0, 4]), np.full((2, 4), 0.25), "got 0 to 4"),
        (np.array([], dtype=np.int64), np.zeros((0, 4)), "with at least one clip"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        metrics.compute_metrics(labels, probabilities, CLASSES)
