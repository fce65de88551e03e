"""Temperatures, thresholds and confidences against slow references and data of known make."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, logit, softmax

from finetune.calibration import (
    FLOOR,
    TEMPERATURES,
    area_under_risk_coverage,
    choose_confidence,
    choose_thresholds,
    fit_sigmoid_temperature,
    fit_temperature,
    is_sure,
    risk_coverage,
    temper,
    temper_sigmoid,
)
from finetune.metrics import decide

seeds = st.integers(0, 100_000)
few = st.integers(1, 25)


def draw_answers(seed, num_clips, num_classes=4):
    """Probabilities with ties, zeros and ones among them, and labels that they half know."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(num_classes, 0.3), num_clips)
    probabilities = rng.multinomial(20, shares) / 20
    labels = np.where(
        rng.random(num_clips) < 0.5,
        probabilities.argmax(axis=1),
        rng.integers(0, num_classes, num_clips),
    )
    return labels, probabilities


def draw_multilabel(seed, num_clips, num_classes=3, digits=1):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 2, (num_clips, num_classes)),
        rng.random((num_clips, num_classes)).round(digits),
    )


def surprise(probabilities, targets):
    """Mean NLL by clip and class, as the paper's equation 2; 0 log 0 is 0."""
    total = 0.0
    for row, shares in zip(probabilities, targets, strict=True):
        total -= sum(share * np.log(p) for p, share in zip(row, shares, strict=True) if share)
    return total / len(probabilities)


def surprise_of_yes_and_no(probabilities, targets):
    total = 0.0
    for p, there in zip(probabilities.ravel(), targets.ravel(), strict=True):
        share = p if there else 1 - p
        total -= np.log(share) if share > 0 else -np.inf
    return total / probabilities.size


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
    def test_the_one_that_made_the_data_is_found(self, temperature):
        rng = np.random.default_rng(0)
        logits = 2 * rng.standard_normal((40_000, 5))
        truth = softmax(logits / temperature, axis=1)
        labels = (truth.cumsum(axis=1) > rng.random((40_000, 1))).argmax(axis=1)
        assert fit_temperature(logits, np.eye(5)[labels]) == pytest.approx(temperature, rel=0.03)
        # With shares instead of draws there is no noise left.
        assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=1e-4)

    @pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
    def test_of_independent_classes_too(self, temperature):
        rng = np.random.default_rng(1)
        logits = 3 * rng.standard_normal((20_000, 3))
        truth = expit(logits / temperature)
        drawn = (rng.random(truth.shape) < truth).astype(float)
        assert fit_sigmoid_temperature(logits, drawn) == pytest.approx(temperature, rel=0.05)
        assert fit_sigmoid_temperature(logits, truth) == pytest.approx(temperature, rel=1e-4)

    @given(seeds, few)
    def test_none_on_a_grid_is_better(self, seed, num_clips):
        labels, probabilities = draw_answers(seed, num_clips)
        targets = np.eye(4)[labels]
        with np.errstate(divide="ignore"):
            found = fit_temperature(np.log(probabilities), targets)
        assert TEMPERATURES[0] <= found <= TEMPERATURES[1]
        reached = surprise(temper(probabilities, found), targets)
        grid = [*np.geomspace(*TEMPERATURES, 60), 1.0]
        best = min(surprise(temper(probabilities, one), targets) for one in grid)
        assert reached <= best + 1e-7

    @given(seeds, few)
    def test_none_on_a_grid_is_better_for_independent_classes(self, seed, num_clips):
        targets, probabilities = draw_multilabel(seed, num_clips)
        with np.errstate(divide="ignore"):
            found = fit_sigmoid_temperature(logit(probabilities), targets)
        reached = surprise_of_yes_and_no(temper_sigmoid(probabilities, found), targets)
        grid = [*np.geomspace(*TEMPERATURES, 60), 1.0]
        best = min(surprise_of_yes_and_no(temper_sigmoid(probabilities, t), targets) for t in grid)
        assert reached <= best + 1e-7

    def test_bounds_are_reached_where_the_likelihood_rises_towards_them(self):
        sure = np.array([[0.7, 0.3], [0.2, 0.8]])
        assert fit_temperature(np.log(sure), np.eye(2)) == TEMPERATURES[0]
        assert fit_temperature(np.log(sure), np.eye(2)[::-1]) == TEMPERATURES[1]
        assert fit_temperature(np.log(sure[:1]), np.eye(2)[:1]) == TEMPERATURES[0]
        assert fit_sigmoid_temperature(logit(sure), np.eye(2)) == TEMPERATURES[0]
        assert fit_sigmoid_temperature(logit(sure), 1 - np.eye(2)) == TEMPERATURES[1]

    def test_stays_1_where_nothing_is_better(self):
        targets = np.eye(3)[[0, 1, 2, 0]]
        assert fit_temperature(np.zeros((4, 3)), targets) == 1.0
        assert fit_sigmoid_temperature(np.zeros((4, 3)), targets) == 1.0
        with np.errstate(divide="ignore"):  # all right with certainty
            assert fit_temperature(np.log(targets), targets) == 1.0

    def test_one_surely_wrong_clip_among_many_right_ones_leaves_them_unsure(self):
        probabilities = np.array([[1.0, 0.0]] * 20)
        targets = np.eye(2)[[0] * 19 + [1]]
        with np.errstate(divide="ignore"):
            found = fit_temperature(np.log(probabilities), targets)
        assert temper(probabilities, found)[0] == pytest.approx([0.95, 0.05], abs=1e-3)

    def test_logits_do_as_well_as_log_probabilities(self):
        rng = np.random.default_rng(2)
        logits, targets = rng.standard_normal((50, 3)), np.eye(3)[rng.integers(0, 3, 50)]
        shifted = logits + rng.standard_normal((50, 1))
        from_logits = fit_temperature(shifted, targets)
        assert from_logits == pytest.approx(fit_temperature(log_softmax(logits, axis=1), targets))

    @given(seeds, few, st.floats(*TEMPERATURES))
    def test_decisions_and_the_order_of_classes_stay(self, seed, num_clips, temperature):
        _, probabilities = draw_answers(seed, num_clips)
        tempered = temper(probabilities, temperature)
        assert np.allclose(tempered.sum(axis=1), 1, atol=1e-9)
        assert np.array_equal(decide(tempered), decide(probabilities))
        order = np.argsort(probabilities, axis=1, kind="stable")
        assert (np.diff(np.take_along_axis(tempered, order, axis=1), axis=1) >= -1e-15).all()

    @given(seeds, few)
    def test_temperature_1_changes_nothing_and_two_in_turn_are_their_product(self, seed, num_clips):
        _, probabilities = draw_answers(seed, num_clips)
        assert np.allclose(temper(probabilities, 1), probabilities, atol=1e-12)
        twice = temper(temper(probabilities, 2), 3)
        assert np.allclose(twice, temper(probabilities, 6), atol=1e-12)
        _, independent = draw_multilabel(seed, num_clips)
        assert np.allclose(temper_sigmoid(independent, 1), independent, atol=1e-12)
        assert np.allclose(
            temper_sigmoid(temper_sigmoid(independent, 2), 3), temper_sigmoid(independent, 6)
        )

    def test_tempering_divides_the_logits(self):
        logits = np.array([[1.0, -0.5, 2.0]])
        assert np.allclose(temper(softmax(logits, axis=1), 2.5), softmax(logits / 2.5, axis=1))
        assert np.allclose(temper_sigmoid(expit(logits), 2.5), expit(logits / 2.5))

    @given(st.floats(*TEMPERATURES))
    def test_certainty_tempers_to_numbers(self, temperature):
        certain = np.array([[1.0, 0.0], [1 - FLOOR / 2, FLOOR / 2]])
        for tempered in (temper(certain, temperature), temper_sigmoid(certain, temperature)):
            assert np.isfinite(tempered).all()
            assert (tempered[:, 0] > 0.5).all() and (tempered[:, 1] < 0.5).all()

    @pytest.mark.parametrize(
        ("answers", "targets", "message"),
        [
            (np.zeros((2, 3)), np.eye(2), r"got \(2, 2\) and \(2, 3\)"),
            (np.zeros((0, 3)), np.zeros((0, 3)), "at least one clip"),
            (np.zeros(3), np.zeros(3), r"\(clips, classes\)"),
            (np.zeros((1, 2)), np.array([[1.0, 1.0]]), "sum to 1 for each clip, got sums from 2"),
            (np.zeros((1, 2)), np.array([[2.0, -1.0]]), "sum to 1"),
            (np.full((1, 2), -np.inf), np.array([[1.0, 0.0]]), "finite number in every row"),
            (np.array([[0.0, np.nan]]), np.array([[1.0, 0.0]]), "no NaN"),
        ],
    )
    def test_what_a_softmax_can_not_be_fitted_to_is_refused(self, answers, targets, message):
        with pytest.raises(ValueError, match=message):
            fit_temperature(answers, targets)

    @pytest.mark.parametrize(
        ("logits", "targets", "message"),
        [
            (np.zeros((2, 3)), np.zeros((3, 2)), r"got \(3, 2\) and \(2, 3\)"),
            (np.zeros((1, 2)), np.array([[0.0, 2.0]]), "got 0.0 to 2.0"),
            (np.array([[0.0, np.nan]]), np.zeros((1, 2)), "NaN"),
        ],
    )
    def test_what_sigmoids_can_not_be_fitted_to_is_refused(self, logits, targets, message):
        with pytest.raises(ValueError, match=message):
            fit_sigmoid_temperature(logits, targets)


def slow_f1(answers, there, threshold):
    found = sum(1 for p, t in zip(answers, there, strict=True) if p >= threshold and t)
    wrong = sum(1 for p, t in zip(answers, there, strict=True) if p >= threshold and not t)
    missed = sum(1 for p, t in zip(answers, there, strict=True) if p < threshold and t)
    return 2 * found / (2 * found + wrong + missed)


class TestThresholds:
    @given(seeds, few, st.sampled_from([1, 2, 17]))
    def test_none_is_better_and_none_as_good_is_nearer_to_the_middle(self, seed, num_clips, digits):
        targets, probabilities = draw_multilabel(seed, num_clips, digits=digits)
        for chosen, answers, there in zip(
            choose_thresholds(probabilities, targets), probabilities.T, targets.T, strict=True
        ):
            if there.min() == there.max():
                assert chosen == 0.5
                continue
            levels = [0.0, *sorted(set(answers))]
            middles = [(low + high) / 2 for low, high in pairwise(levels)]
            tried = [0.5, *middles, *np.linspace(0, 1, 101)]
            reached = slow_f1(answers, there, chosen)
            assert reached == pytest.approx(max(slow_f1(answers, there, t) for t in tried))
            equal = [t for t in (0.5, *middles) if slow_f1(answers, there, t) > reached - 1e-9]
            assert abs(chosen - 0.5) <= min(abs(t - 0.5) for t in equal) + 1e-12

    @pytest.mark.parametrize(
        ("answers", "there", "expected"),
        [
            ([0.9, 0.7, 0.2], [1, 0, 0], 0.8),
            ([0.9, 0.6, 0.2], [1, 1, 0], 0.5),
            ([0.1, 0.04, 0.02], [1, 1, 0], 0.03),
            ([0.1, 0.04, 0.02], [0, 1, 1], 0.01),
            ([0.9, 0.6, 0.2], [0, 0, 0], 0.5),
            ([0.9, 0.6, 0.2], [1, 1, 1], 0.5),
            ([0.3, 0.3, 0.3], [1, 0, 0], 0.15),
            ([1.0, 0.0], [1, 0], 0.5),
        ],
    )
    def test_by_hand(self, answers, there, expected):
        (chosen,) = choose_thresholds(np.array([answers]).T, np.array([there]).T)
        assert chosen == pytest.approx(expected)

    def test_neighbouring_numbers_are_told_apart_only_where_a_middle_does(self):
        """Between two floats there is none, and the middle is rounded to one of them."""
        numbers = [0.75]
        for _ in range(2):
            numbers.append(np.nextafter(numbers[-1], 1))
        assert (numbers[0] + numbers[1]) / 2 == numbers[0]
        assert (numbers[1] + numbers[2]) / 2 == numbers[2]
        there = np.array([[0], [1]])
        assert choose_thresholds(np.array(numbers[:2])[:, None], there) == [0.5]
        assert choose_thresholds(np.array(numbers[1:])[:, None], there) == [numbers[2]]

    @pytest.mark.parametrize(
        ("targets", "message"),
        [(np.zeros((2, 2)), r"got \(2, 2\) and \(2, 3\)"), (np.full((2, 3), 0.5), "got 0.5")],
    )
    def test_what_is_no_truth_is_refused(self, targets, message):
        with pytest.raises(ValueError, match=message):
            choose_thresholds(np.zeros((2, 3)), targets)


def slow_curve(labels, probabilities):
    """Coverage and accuracy for each confidence that occurs, surest first."""
    rows = {}
    for least in sorted({max(row) for row in probabilities}, reverse=True):
        answered = [i for i, row in enumerate(probabilities) if max(row) >= least]
        right = 0.0
        for i in answered:
            winners = [c for c, p in enumerate(probabilities[i]) if p == max(probabilities[i])]
            right += (labels[i] in winners) / len(winners)
        rows[least] = (len(answered) / len(labels), right / len(answered))
    return rows


class TestConfidence:
    @given(seeds, few)
    def test_coverage_and_accuracy_equal_the_loop(self, seed, num_clips):
        labels, probabilities = draw_answers(seed, num_clips)
        curve = risk_coverage(labels, probabilities)
        assert np.allclose(curve, list(slow_curve(labels, probabilities).values()))
        assert curve[-1, 0] == 1

    @given(seeds, few, st.sampled_from([0.3, 0.5, 2 / 3, 0.75, 0.9, 1.0]))
    def test_the_lowest_confidence_that_is_enough(self, seed, num_clips, wanted):
        labels, probabilities = draw_answers(seed, num_clips)
        enough = [
            least
            for least, (_, accuracy) in slow_curve(labels, probabilities).items()
            if accuracy >= wanted - 1e-9
        ]
        found = choose_confidence(labels, probabilities, wanted)
        assert found == (min(enough) if enough else None)
        sure = is_sure(probabilities, found)
        if found is None:
            assert not sure.any()
        else:
            right = decide(probabilities)[np.arange(num_clips), labels]
            assert right[sure].mean() >= wanted - 1e-9

    def test_a_higher_confidence_may_be_less_accurate(self):
        """The surest clip is wrong, and all together are right often enough."""
        probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
        assert choose_confidence(np.array([1, 0, 0, 0]), probabilities, 0.75) == 0.6
        assert choose_confidence(np.array([1, 0, 0, 1]), probabilities, 0.6) == 0.7
        assert choose_confidence(np.array([1, 1, 1, 1]), probabilities, 0.1) is None

    @given(seeds, few)
    def test_the_area_is_the_mean_over_clips_of_the_risk_down_to_each(self, seed, num_clips):
        labels, probabilities = draw_answers(seed, num_clips)
        rows = slow_curve(labels, probabilities)
        risks = [1 - rows[max(row)][1] for row in probabilities]
        area = area_under_risk_coverage(risk_coverage(labels, probabilities))
        assert area == pytest.approx(np.mean(risks), abs=1e-12)

    def test_the_area_rewards_being_unsure_where_wrong(self):
        labels = np.array([0, 0, 1])
        knows = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
        boasts = np.array([[0.6, 0.4], [0.8, 0.2], [0.9, 0.1]])
        areas = [area_under_risk_coverage(risk_coverage(labels, p)) for p in (knows, boasts)]
        assert areas[0] == pytest.approx(1 / 9)
        assert areas[1] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)

    @pytest.mark.parametrize("wanted", [0, -0.1, 1.1, np.nan])
    def test_an_accuracy_that_can_not_be_is_refused(self, wanted):
        with pytest.raises(ValueError, match="wanted_accuracy must lie"):
            choose_confidence(np.array([0]), np.array([[1.0, 0.0]]), wanted)

    @pytest.mark.parametrize(("num_labels", "num_clips"), [(0, 0), (2, 1)])
    def test_labels_without_clips_are_refused(self, num_labels, num_clips):
        with pytest.raises(ValueError, match=f"got {num_labels} labels and {num_clips} clips"):
            risk_coverage(np.zeros(num_labels, np.int64), np.full((num_clips, 2), 0.5))
