import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.ensemble import TOLERANCE, Ensemble, fit_weights
from finetune.metrics import decide

RULES = ("mode", "mean", "weighted")
seeds = st.integers(0, 100_000)


def draw(seed, num_members, num_clips, num_classes=3):
    """Members' answers, with ties and zeros, and labels that each member half knows."""
    rng = np.random.default_rng(seed)
    answers = rng.dirichlet(np.full(num_classes, 0.5), (num_members, num_clips)).round(1)
    answers += (answers.sum(axis=2, keepdims=True) == 0) / num_classes
    answers /= answers.sum(axis=2, keepdims=True)
    return answers, rng.integers(0, num_classes, num_clips)


def fitted(rule, answers, labels):
    ensemble = Ensemble(rule)
    ensemble.fit(answers, labels)
    return ensemble


def mean_log_likelihood(weights, answers, labels):
    """Of the clips that any member gives a chance."""
    logs = []
    for clip, label in enumerate(labels):
        if answers[:, clip, label].any():
            chance = sum(
                w * member[clip, label] for w, member in zip(weights, answers, strict=True)
            )
            logs.append(np.log(chance) if chance > 0 else -np.inf)
    return np.mean(logs) if logs else 0.0


@pytest.mark.parametrize(("num_members", "steps"), [(2, 200), (3, 40)])
@pytest.mark.parametrize("seed", range(8))
def test_no_weights_on_a_grid_make_validation_clips_more_likely(seed, num_members, steps):
    answers, labels = draw(seed, num_members, 15)
    found = fitted("weighted", answers, labels).weights
    grid = [
        np.array(counts) / steps
        for counts in itertools.product(range(steps + 1), repeat=num_members)
        if sum(counts) == steps
    ]
    best = max(mean_log_likelihood(weights, answers, labels) for weights in grid)
    assert mean_log_likelihood(found, answers, labels) >= best - 2 * TOLERANCE


@given(seeds, st.integers(1, 5), st.integers(1, 20))
def test_weights_lie_on_the_simplex_and_are_no_worse_than_equal_ones_or_any_member(
    seed, num_members, num_clips
):
    answers, labels = draw(seed, num_members, num_clips)
    weights = fitted("weighted", answers, labels).weights
    assert weights.shape == (num_members,)
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    reached = mean_log_likelihood(weights, answers, labels)
    for other in (np.full(num_members, 1 / num_members), *np.eye(num_members)):
        assert reached >= mean_log_likelihood(other, answers, labels) - 2 * TOLERANCE


def test_a_known_mixture_is_found():
    rng = np.random.default_rng(0)
    answers = rng.dirichlet(np.full(4, 0.5), (3, 30_000))
    truth = np.array([0.6, 0.3, 0.1])
    mixture = np.tensordot(truth, answers, axes=1)
    labels = (mixture.cumsum(axis=1) > rng.random((30_000, 1))).argmax(axis=1)
    weights = fitted("weighted", answers, labels).weights
    assert weights == pytest.approx(truth, abs=0.03)


def test_a_member_that_is_always_better_gets_all_the_weight():
    good, bad = np.tile([0.8, 0.2], (10, 1)), np.tile([0.4, 0.6], (10, 1))
    weights = fitted("weighted", np.stack([bad, good]), np.zeros(10, np.int64)).weights
    assert weights == pytest.approx([0, 1], abs=1e-3)


@pytest.mark.parametrize(
    ("likelihoods", "expected"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], [0.5, 0.5]),
        ([[0.0, 0.5], [0.0, 0.5]], [0.5, 0.5]),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0.5, 0.5]),
        ([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [2 / 3, 1 / 3]),
        ([[5e-324], [0.0]], [1.0, 0.0]),
        ([[0.3, 0.2]], [1.0]),
    ],
)
def test_weights_by_hand(likelihoods, expected):
    assert fit_weights(np.array(likelihoods)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds, num_members=st.integers(1, 5), num_clips=st.integers(1, 10))
def test_answers_are_probabilities_whatever_the_order_of_members(
    rule, seed, num_members, num_clips
):
    answers, labels = draw(seed, num_members, num_clips)
    answer = fitted(rule, answers, labels).combine(answers)
    assert answer.shape == answers.shape[1:]
    assert (answer >= 0).all() and np.allclose(answer.sum(axis=1), 1, atol=1e-12)
    order = np.random.default_rng(seed).permutation(num_members)
    other = fitted(rule, answers[order], labels)
    assert np.allclose(other.combine(answers[order]), answer, atol=1e-9)
    if rule == "weighted":
        weights = fitted(rule, answers, labels).weights
        assert other.weights == pytest.approx(weights[order], abs=1e-9)


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds, num_members=st.integers(1, 4))
def test_members_that_agree_are_as_one(rule, seed, num_members):
    answers, labels = draw(seed, 1, 8)
    several = np.repeat(answers, num_members, axis=0)
    ensemble = fitted(rule, several, labels)
    expected = decide(answers[0]) if rule == "mode" else answers[0]
    assert np.allclose(ensemble.combine(several), expected, atol=1e-12)
    if rule == "weighted":
        assert ensemble.weights == pytest.approx(np.full(num_members, 1 / num_members))


@given(seeds, st.integers(1, 6))
def test_mode_counts_votes(seed, num_members):
    answers, _ = draw(seed, num_members, 6, num_classes=4)
    for clip, answer in enumerate(Ensemble("mode").combine(answers)):
        votes = np.zeros(4)
        for member in answers[:, clip]:
            winners = [index for index, p in enumerate(member) if p == max(member)]
            for index in winners:
                votes[index] += 1 / len(winners)
        assert answer == pytest.approx(votes / num_members)


def test_equally_many_votes_stay_equal():
    answers = np.array([[[0.9, 0.1, 0.0]], [[0.2, 0.7, 0.1]]])
    assert Ensemble("mode").combine(answers).tolist() == [[0.5, 0.5, 0.0]]


@pytest.mark.parametrize("rule", RULES)
def test_means_are_weighted_as_they_should_be(rule):
    answers = np.array([[[0.9, 0.1]], [[0.2, 0.8]]])
    ensemble = Ensemble(rule)
    ensemble.weights = np.array([0.25, 0.75]) if rule == "weighted" else None
    expected = {"mode": [0.5, 0.5], "mean": [0.55, 0.45], "weighted": [0.375, 0.625]}
    assert ensemble.combine(answers)[0] == pytest.approx(expected[rule])


@pytest.mark.parametrize("rule", ["mode", "mean"])
def test_only_weights_have_to_be_fitted(rule):
    answers, labels = draw(0, 3, 5)
    ensemble = Ensemble(rule)
    before = ensemble.combine(answers)
    ensemble.fit(answers, labels)
    assert np.array_equal(ensemble.combine(answers), before)
    assert ensemble.weights is None and not ensemble.learns
    assert Ensemble("weighted").learns


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (np.full((3, 2), 0.5), r"got shape \(3, 2\)"),
        (np.zeros((0, 2, 2)), "at least one member"),
        (np.full((1, 1, 2), 0.6), "got 0.6 as the least and 1.2 as a sum"),
        (np.array([[[1.5, -0.5]]]), "got -0.5 as the least"),
        (np.full((1, 1, 2), np.nan), "got nan"),
    ],
)
def test_what_is_no_probability_is_refused(answers, message):
    with pytest.raises(ValueError, match=message):
        Ensemble("mean").combine(answers)
    with pytest.raises(ValueError, match=message):
        Ensemble("mean").fit(answers, np.array([0]))


@pytest.mark.parametrize(("num_clips", "num_labels"), [(0, 0), (2, 1)])
def test_labels_that_are_not_of_the_clips_are_refused(num_clips, num_labels):
    with pytest.raises(ValueError, match=f"got {num_labels} labels and {num_clips} clips"):
        Ensemble("weighted").fit(np.full((2, num_clips, 2), 0.5), np.zeros(num_labels, np.int64))


def test_weights_of_other_members_are_refused():
    answers, labels = draw(0, 3, 5)
    with pytest.raises(ValueError, match="3 members are to be weighted, but no weights"):
        Ensemble("weighted").combine(answers)
    ensemble = fitted("weighted", answers, labels)
    with pytest.raises(ValueError, match="2 members are to be weighted, but 3 weights"):
        ensemble.combine(answers[:2])
