import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from benchmarks.comparisons import (
    Comparison,
    compare_all,
    detectable_difference,
    find_winners,
)
from benchmarks.results import SystemResult
from benchmarks.statistics import Estimate, detectable_effect
from finetune.predictions import Provenance

CLASSES = ("angry", "calm", "happy")


def result(name, skill, speakers=24, folds=6, seeds=(0,), takes=4, known=True):
    """A made-up system: ``skill`` is the share of each class found, give or take 0.1 a speaker."""
    rng = np.random.default_rng([len(name), ord(name[0]), round(1000 * skill)])
    rows = []
    skills = np.clip(rng.normal(skill, 0.1, speakers), 0, 1)
    for seed, speaker in itertools.product(seeds, range(speakers)):
        for label, take in itertools.product(range(3), range(takes)):
            decided = label if rng.random() < skills[speaker] else (label + 1) % 3
            rows.append(
                {
                    "clip_id": f"{speaker}-{label}-{take}",
                    "speaker": f"s{speaker}" if known else None,
                    "fold": speaker % folds + 1,
                    "seed": seed,
                    "label": CLASSES[label],
                    **{c: float(i == decided) for i, c in enumerate(CLASSES)},
                }
            )
    about = Provenance(system=name, protocol="p-3/x", classes=CLASSES)
    return SystemResult(about, pd.DataFrame(rows))


def uars(frame, by):
    """A group's recalls averaged, by scikit-learn: the slow reference."""
    decided = np.array(CLASSES)[frame[list(CLASSES)].to_numpy().argmax(axis=1)]
    return np.array(
        [
            recall_score(part["label"], decided[part.index], average="macro")
            for _, part in frame.groupby(by)
        ]
    )


def test_a_pair_is_tested_over_speakers_and_over_folds_with_seeds_pooled():
    better, worse = result("b", 0.7, seeds=(0, 1)), result("w", 0.6, seeds=(0, 1, 2))
    (pair,) = compare_all([worse, better])
    differences = uars(better.frame, "speaker") - uars(worse.frame, "speaker")
    assert (pair.first, pair.second, pair.num_speakers) == ("b", "w", 24)
    assert pair.difference.value == pytest.approx(differences.mean())
    by_fold = uars(better.frame, "fold") - uars(worse.frame, "fold")
    # Here folds scatter more than their speakers would make them.
    assert stats.sem(differences) < stats.sem(by_fold) == pytest.approx(pair.error)
    low, high = stats.t.interval(0.95, 5, by_fold.mean(), stats.sem(by_fold))
    assert (pair.difference.low, pair.difference.high) == pytest.approx((low, high))
    assert pair.p_value == pytest.approx(stats.ttest_1samp(by_fold, 0).pvalue)
    assert pair.degrees == 5
    # Speakers that no fold holds together are on their own.
    (pair,) = compare_all([fold_each_speaker(worse), fold_each_speaker(better)])
    assert pair.error == pytest.approx(stats.sem(differences)) and pair.degrees == 23
    assert pair.p_value == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def fold_each_speaker(system):
    fold = system.frame["speaker"].str[1:].astype(int) + 1
    return SystemResult(system.about, system.frame.assign(fold=fold))


def test_holm_and_the_folds_are_those_of_the_formula():
    better, worse = result("b", 0.7), result("w", 0.6)
    (pair,) = compare_all([better, worse])
    by_fold = uars(better.frame, "fold") - uars(worse.frame, "fold")
    assert pair.p_holm == pair.p_value
    t = by_fold.mean() / np.sqrt(by_fold.var(ddof=1) * (1 / 6 + 4 / 20))
    assert pair.p_folds == pytest.approx(2 * stats.t.sf(abs(t), 5))


def test_all_pairs_are_corrected_by_holm():
    systems = [result(name, skill) for name, skill in zip("abc", (0.8, 0.7, 0.65), strict=True)]
    pairs = compare_all(systems)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    order = sorted(pairs, key=lambda pair: pair.p_value)
    expected = np.maximum.accumulate(
        [(3 - rank) * pair.p_value for rank, pair in enumerate(order)]
    ).clip(max=1)
    assert [pair.p_holm for pair in order] == pytest.approx(expected)
    assert [pair.p_holm for pair in order] != [pair.p_value for pair in order]


def test_a_system_compared_with_its_copy_does_not_differ():
    one, copy = result("a", 0.6), result("a", 0.6)
    copy = SystemResult(Provenance(system="b", protocol="p-3/x", classes=CLASSES), copy.frame)
    (pair,) = compare_all([one, copy])
    assert pair.difference == Estimate(0.0, 0.0, 0.0)
    assert (pair.p_value, pair.p_folds) == (1.0, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        result("w", 0.6, known=False),
        result("w", 0.6, speakers=20),
        result("w", 0.6, takes=3),
        result("w", 0.6, folds=4),
    ],
)
def test_different_tests_are_not_compared(other):
    (pair,) = compare_all([result("b", 0.7), other])
    assert pair.difference.value == pytest.approx(0.1, abs=0.12)
    assert (pair.difference.low, pair.p_value, pair.p_holm) == (None,) * 3
    assert (pair.p_folds, pair.num_speakers) == (None,) * 2


def test_a_seed_that_skips_a_clip_is_not_compared():
    whole, other = result("b", 0.7, seeds=(0, 1)), result("w", 0.6, seeds=(0, 1))
    cut = SystemResult(other.about, other.frame.iloc[1:])
    (pair,) = compare_all([whole, cut])
    assert pair.p_value is None and pair.p_folds is None


def test_unknown_speakers_leave_the_test_over_folds():
    (pair,) = compare_all([result("b", 0.7, known=False), result("w", 0.6, known=False)])
    assert pair.p_value is None and pair.difference.low is None
    assert 0 < pair.p_folds < 1
    assert detectable_difference([result("b", 0.7, known=False)] * 2) is None


def test_one_speaker_and_one_fold_allow_no_test():
    (pair,) = compare_all([result("b", 0.9, speakers=1), result("w", 0.1, speakers=1)])
    assert pair.num_speakers == 1
    assert (pair.p_value, pair.p_folds, pair.error, pair.difference.low) == (None,) * 4


def pair(first, second, p_holm):
    return Comparison(first, second, Estimate(0.1), p_holm, p_holm, None, 24)


@pytest.mark.parametrize(
    ("p_values", "names", "winners"),
    [
        ((0.01, 0.04, 0.9), "abc", ("a",)),
        ((0.01, 0.06, 0.9), "abc", ()),
        ((0.01, None, 0.9), "abc", ()),
        ((0.9, 0.9, 0.01), "bc", ("b",)),  # a is no candidate, e.g. contaminated
        ((0.01, 0.01, 0.01), "a", ()),
    ],
)
def test_the_winner_beats_every_candidate_after_correction(p_values, names, winners):
    pairs = zip(("ab", "ac", "bc"), p_values, strict=True)
    comparisons = [pair(first, second, p) for (first, second), p in pairs]
    assert find_winners(comparisons, list(names)) == winners


def test_the_design_tells_what_it_resolves():
    systems = [result(name, skill) for name, skill in zip("abc", (0.8, 0.7, 0.65), strict=True)]
    resolution = detectable_difference(systems)
    pairs = compare_all(systems)
    assert (resolution.num_speakers, resolution.num_pairs) == (24, 3)
    for alpha, difference in ((0.05, resolution.single), (0.05 / 3, resolution.corrected)):
        each = [pair.error * detectable_effect(pair.degrees, alpha, power=0.8) for pair in pairs]
        assert difference == np.median(each)
    assert resolution.single < resolution.corrected
    assert f"{100 * resolution.corrected:.1f} points among the 3 pairs" in resolution.describe()
    assert "planned" not in detectable_difference(systems[:2]).describe()
