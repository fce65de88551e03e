import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from benchmarks import statistics
from finetune import metrics

TRUE_UAR = 0.4


def simulate(rng, num_speakers, uneven=False):
    """Confusion matrices of speakers who differ in how well they are recognised."""
    recall = np.clip(rng.normal(0.5, 0.12, (num_speakers, 1)), 0, 1) * np.full(8, 2 * TRUE_UAR)
    counts = rng.integers(3, 13, recall.shape) if uneven else np.full(recall.shape, 8)
    found = rng.binomial(counts, recall)
    confusion = np.zeros((num_speakers, 8, 8))
    index = np.arange(8)
    confusion[:, index, index] = found
    confusion[:, index, (index + 1) % 8] = counts - found
    return confusion


def test_balanced_speakers_give_the_plain_t_interval_on_speaker_means():
    confusion = simulate(np.random.default_rng(0), num_speakers=4)
    estimate = statistics.pooled_estimate(confusion, metrics.uar)
    means = metrics.uar(confusion)
    low, high = stats.t.interval(0.95, 3, loc=means.mean(), scale=stats.sem(means))
    assert estimate.value == pytest.approx(means.mean())
    assert (estimate.low, estimate.high) == pytest.approx((max(low, 0), min(high, 1)))


@pytest.mark.parametrize("uneven", [False, True])
def test_the_interval_covers_the_truth_and_one_over_clips_does_not(uneven):
    rng = np.random.default_rng(1)
    covered = covered_by_clips = 0
    for _ in range(800):
        confusion = simulate(rng, num_speakers=24, uneven=uneven)
        estimate = statistics.pooled_estimate(confusion, metrics.uar)
        covered += estimate.low <= TRUE_UAR <= estimate.high
        recalls, counts = metrics.recalls(confusion.sum(axis=0)), confusion.sum(axis=(0, 2))
        error = np.sqrt(np.sum(recalls * (1 - recalls) / counts)) / 8
        covered_by_clips += abs(recalls.mean() - TRUE_UAR) < 1.96 * error
    assert 0.93 <= covered / 800 <= 0.97
    assert covered_by_clips / 800 < 0.85


def test_fewer_speakers_make_wider_intervals():
    confusion = simulate(np.random.default_rng(2), num_speakers=24)
    few = statistics.pooled_estimate(confusion[:4], metrics.uar)
    many = statistics.pooled_estimate(confusion, metrics.uar)
    assert few.high - few.low > 2 * (many.high - many.low)


def test_one_cluster_has_no_interval():
    confusion = simulate(np.random.default_rng(3), num_speakers=1)
    assert statistics.pooled_estimate(confusion, metrics.uar).low is None
    assert statistics.spread_over_folds(confusion, metrics.uar) is None


def test_a_class_that_one_speaker_has_leaves_the_interval_defined():
    confusion = simulate(np.random.default_rng(4), num_speakers=6)
    confusion[1:, 0] = 0
    estimate = statistics.pooled_estimate(confusion, metrics.uar)
    assert 0 < estimate.low < estimate.value < estimate.high < 1


def test_groups_sum_to_the_pooled_matrix():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 50)
    probabilities = rng.dirichlet(np.ones(3), 50)
    confusion = statistics.confusion_by(labels, probabilities, rng.integers(0, 7, 50))
    assert confusion.shape == (7, 3, 3)
    assert np.allclose(confusion.sum(axis=0), metrics.confusion_matrix(labels, probabilities))


@pytest.mark.parametrize(
    ("speakers", "num_speakers", "caveat"),
    [
        (["a"] * 4, 1, "no interval"),
        (list("aabb"), 2, "n = 2, indicative"),
        ([f"{n}" for n in range(12)], 12, ""),
        (["a", None], None, "too narrow"),
    ],
)
def test_clusters_say_what_the_interval_rests_on(speakers, num_speakers, caveat):
    clusters = statistics.choose_clusters(speakers, [f"clip{n}" for n in range(len(speakers))])
    assert clusters.num_speakers == num_speakers
    assert caveat in clusters.caveat
    assert bool(clusters.caveat) == bool(caveat)


def test_pseudo_values_are_what_leaving_a_speaker_out_changes():
    confusion = simulate(np.random.default_rng(6), 9, uneven=True)

    def pooled(skip=None):
        return metrics.uar(sum(confusion[n] for n in range(9) if n != skip))

    slow = [9 * pooled() - 8 * pooled(skip) for skip in range(9)]
    assert statistics.pseudo_values(confusion, metrics.uar) == pytest.approx(slow)


def test_balanced_pseudo_values_are_the_speakers_own_scores():
    confusion = simulate(np.random.default_rng(7), 24)
    assert statistics.pseudo_values(confusion, metrics.uar) == pytest.approx(metrics.uar(confusion))


def test_a_difference_pairs_the_speakers():
    rng = np.random.default_rng(8)
    first, second = simulate(rng, 9, uneven=True), simulate(rng, 9, uneven=True)

    def pooled(skip=None):
        kept = [number for number in range(9) if number != skip]
        return np.subtract(*(metrics.uar(part[kept].sum(axis=0)) for part in (first, second)))

    error = np.sqrt(8 / 9 * sum((pooled(skip) - pooled()) ** 2 for skip in range(9)))
    paired = statistics.compare_paired(first, second, list(range(9)), metrics.uar)
    assert paired.estimate.value == pytest.approx(pooled())
    assert (paired.error, paired.degrees) == (pytest.approx(error), 8)
    half = stats.t.ppf(0.975, 8) * error
    assert paired.estimate.high - paired.estimate.value == pytest.approx(half)
    assert paired.p_value == pytest.approx(2 * stats.t.sf(abs(pooled()) / error, 8))


def shifted(first, folds, rng, scatter):
    """The same confusions, but what a fold's speakers got right changes together."""
    moved = np.round(scatter * rng.standard_normal(max(folds) + 1))[folds]
    second, index = first.copy(), np.arange(8)
    moved = np.clip(moved[:, None], -second[:, index, (index + 1) % 8], second[:, index, index])
    second[:, index, index] -= moved
    second[:, index, (index + 1) % 8] += moved
    return second


def test_folds_that_scatter_more_than_their_speakers_give_the_error():
    rng = np.random.default_rng(10)
    first, folds = simulate(rng, 24), np.repeat(np.arange(6), 4)
    second = shifted(first, folds, rng, scatter=2)
    paired = statistics.compare_paired(first, second, folds.tolist(), metrics.uar)
    differences = metrics.uar(first) - metrics.uar(second)
    means = [differences[folds == fold].mean() for fold in range(6)]
    assert (paired.error, paired.degrees) == (pytest.approx(stats.sem(means)), 5)
    assert paired.p_value == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert stats.sem(means) > stats.sem(differences)
    # Speakers who scatter on their own leave the error theirs, as do folds of one speaker.
    alone = statistics.compare_paired(first, second, list(range(24)), metrics.uar)
    assert (alone.error, alone.degrees) == (pytest.approx(stats.sem(differences)), 23)
    order = np.argsort(differences).reshape(4, 6)
    order[1::2] = order[1::2, ::-1]
    dealt = np.empty(24, dtype=int)
    dealt[order] = np.arange(6)
    even = statistics.compare_paired(first, second, dealt.tolist(), metrics.uar)
    assert even.degrees == 23


def test_one_fit_for_all_speakers_gives_an_interval_but_no_test():
    rng = np.random.default_rng(11)
    first, second = simulate(rng, 24), simulate(rng, 24)
    alone = statistics.compare_paired(first, second, list(range(24)), metrics.uar)
    paired = statistics.compare_paired(first, second, [0] * 24, metrics.uar)
    assert paired.p_value is None and alone.p_value is not None
    assert paired.estimate == alone.estimate


def test_speakers_share_a_fit_directly_or_through_others():
    # a and b meet in fold 1, b and c in fold 2; d is alone in fold 3.
    groups = statistics.group_by_fit(["a", "b", "b", "c", "d", "a"], [1, 1, 2, 2, 3, 1])
    assert groups["a"] == groups["b"] == groups["c"] != groups["d"]
    assert set(groups) == set("abcd")
    one_each = statistics.group_by_fit(["a", "b", "c"], [1, 2, 3])
    assert len(set(one_each.values())) == 3


def test_six_folds_with_fold_sd_3_resolve_4_7_points():
    half = stats.t.ppf(0.975, 5) * statistics.corrected_error(3.0, 6, 4 / 20)
    assert half == pytest.approx(4.67, abs=0.005)
    # Differences over folds with this SD and a mean at that limit are significant at 5 %.
    differences = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    differences *= 3 / differences.std(ddof=1)
    assert statistics.p_over_folds(differences + half, 4 / 20) == pytest.approx(0.05)
    assert statistics.p_over_folds(np.zeros(6), 0.2) == 1.0
    assert statistics.p_over_folds(np.full(6, 0.1), 0.2) == 0.0


def test_detectable_effects_agree_with_statsmodels_and_with_trials_where_it_gives_up():
    known = TTestPower().solve_power(nobs=24, alpha=0.05, power=0.8)
    effect = statistics.detectable_effect(23, 0.05, 0.8) / np.sqrt(24)
    assert effect == pytest.approx(known, rel=1e-4)
    effect = statistics.detectable_effect(3, 0.05 / 45, 0.8) / np.sqrt(4)
    samples = np.random.default_rng(9).standard_normal((20_000, 4)) + effect
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05 / 45
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_copies_of_a_clip_are_one_cluster_where_speakers_are_unknown():
    copies = [("a", "b"), ("b", "c"), ("d", "not tested")]
    clusters = statistics.choose_clusters([None] * 6, list("abcdea"), copies)
    a, b, c, d, e, again = clusters.names
    assert a == b == c == again and len({a, d, e}) == 3
    known = statistics.choose_clusters(list("xyxyxy"), list("abcdea"), copies)
    assert known.num_speakers == 2
