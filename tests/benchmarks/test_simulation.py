from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from typer.testing import CliRunner

from benchmarks import simulation
from benchmarks.__main__ import app
from benchmarks.simulation.config import Design, SimulationConfig, World
from benchmarks.simulation.methods import INTERVALS, TESTS, by_fold, draw_weights
from benchmarks.simulation.report import summarise
from benchmarks.simulation.running import judge, run_simulation
from benchmarks.simulation.world import SYSTEMS, Trial, draw_class_means, record, run_trial
from finetune import metrics
from ssl_audio.config import load_config
from ssl_audio.errors import ConfigError

WORLD = World(num_classes=3, num_features=4)
MEANS = draw_class_means(WORLD, seed=0)
SMALL = SimulationConfig(
    num_truths=3,
    truth_speakers=4,
    num_resamples=50,
    world=WORLD,
    designs={
        "6 speakers": Design(num_speakers=6, num_folds=3, clips_per_class=(3, 3), num_trials=4),
        "one fold": Design(num_speakers=6, num_folds=3, tested_folds=1, num_trials=2),
    },
)


def test_the_first_two_systems_are_exchangeable_and_the_third_is_weaker():
    data = record(WORLD, MEANS, 4000, (1, 1), np.random.default_rng(0))
    centred = data.features - data.features.mean(axis=1, keepdims=True)
    own = [np.cov(system.T) for system in centred]
    assert own[0] == pytest.approx(own[1], abs=0.08)
    together = np.mean(centred[0] * centred[1], axis=0) / centred[0].var(axis=0)
    assert np.all(together > WORLD.shared - 0.05)
    for system, strength in enumerate((1.0, 1.0, WORLD.weaker)):
        for label, mean in enumerate(MEANS):
            found = data.features[system, data.labels == label].mean(axis=0)
            expected = strength * np.exp(WORLD.expressiveness**2 / 2) * mean
            assert found == pytest.approx(expected, abs=0.07)


def test_counts_of_clips_stay_within_the_design():
    data = record(WORLD, MEANS, 50, (0, 2), np.random.default_rng(1))
    counts = np.zeros((50, 3))
    np.add.at(counts, (data.speakers, data.labels), 1)
    assert {*counts.ravel()} == {0, 1, 2}


def test_each_clip_is_judged_by_a_classifier_that_never_heard_its_speaker():
    design = Design(num_speakers=6, num_folds=3, clips_per_class=(5, 5))
    trial = run_trial(WORLD, design, MEANS, np.random.default_rng(2))
    data = record(WORLD, MEANS, 6, (5, 5), np.random.default_rng(2))
    assert trial.folds.tolist() == [0, 0, 1, 1, 2, 2]
    for system in range(len(SYSTEMS)):
        for fold, pair in enumerate(((0, 1), (2, 3), (4, 5))):
            test = np.isin(data.speakers, pair)
            classifier = LinearDiscriminantAnalysis()
            classifier.fit(data.features[system, ~test], data.labels[~test])
            decided = classifier.predict(data.features[system, test])
            expected = np.eye(3)[data.labels[test]].T @ np.eye(3)[decided]
            assert np.array_equal(
                trial.confusion[system][trial.folds == fold].sum(axis=0), expected
            )
            assert np.array_equal(trial.correct[0, system, test], decided == data.labels[test])


def test_seeds_are_pooled_and_one_fold_leaves_the_other_speakers_out():
    design = Design(
        num_speakers=6, num_folds=3, tested_folds=1, classifier="random_subspace", num_seeds=2
    )
    trial = run_trial(WORLD, design, MEANS, np.random.default_rng(3))
    assert trial.folds.tolist() == [0, 0]
    assert trial.confusion.sum() == 2 * len(SYSTEMS) * 2 * 3 * 8
    assert trial.correct.shape == (2, 3, 48)
    assert not np.array_equal(trial.correct[0], trial.correct[1])


def balanced_trial(seed=4):
    design = Design(num_speakers=12, num_folds=4)
    return run_trial(WORLD, design, MEANS, np.random.default_rng(seed))


def test_the_methods_are_the_textbooks_on_balanced_data():
    trial = balanced_trial()
    weights = draw_weights(12, 4000, np.random.default_rng(5))
    uars = metrics.uar(trial.confusion[0])
    differences = uars - metrics.uar(trial.confusion[1])
    fold_uars = metrics.uar(by_fold(trial.confusion[0], trial.folds))
    fold_differences = fold_uars - metrics.uar(by_fold(trial.confusion[1], trial.folds))

    def interval(name):
        return INTERVALS[name](trial.confusion[0], trial.folds, weights)

    plain = stats.t.interval(0.95, 11, uars.mean(), stats.sem(uars))
    assert interval("jackknife t over speakers") == pytest.approx(plain)
    over_folds = stats.t.interval(0.95, 3, fold_uars.mean(), stats.sem(fold_uars))
    assert interval("t over folds") == pytest.approx(over_folds)
    resampled = stats.bootstrap(
        (uars,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(6)
    ).confidence_interval
    percentile = interval("percentile bootstrap over speakers")
    assert percentile == pytest.approx(tuple(resampled), abs=0.006)
    studentised = interval("studentised bootstrap over speakers")
    assert studentised[1] - studentised[0] > percentile[1] - percentile[0]

    def p_value(name):
        return TESTS[name](trial, 1, weights)

    assert p_value("Wilcoxon over speakers") == stats.wilcoxon(differences.round(10)).pvalue
    paired = stats.ttest_1samp(differences, 0).pvalue
    assert p_value("paired t over speakers") == pytest.approx(paired)
    assert p_value("studentised bootstrap over speakers") == pytest.approx(paired, abs=0.05)
    naive = stats.ttest_1samp(fold_differences, 0).pvalue
    assert p_value("naive t over folds") == pytest.approx(naive)
    assert p_value("corrected t over folds") > p_value("naive t over folds")
    only, other_only = (
        np.sum(trial.correct[0, a] & ~trial.correct[0, b]) for a, b in ((0, 1), (1, 0))
    )
    exact = stats.binomtest(int(only), int(only + other_only)).pvalue
    assert p_value("McNemar over clips") == pytest.approx(exact)
    folds_scatter_more = stats.sem(fold_differences) > stats.sem(differences)
    chosen = naive if folds_scatter_more else paired
    assert p_value("t with the larger error") == pytest.approx(chosen)


def test_equal_speakers_leave_no_error():
    trial = balanced_trial()
    same = np.broadcast_to(trial.confusion[0, 0], trial.confusion.shape)
    still = Trial(same, trial.folds, trial.correct[:, [0, 0, 0]], trial.test_to_train)
    numbers = judge(still, 50, np.random.default_rng(7))
    uar = float(metrics.uar(trial.confusion[0, 0]))
    for name in INTERVALS:
        if name != "normal over clips":
            assert (numbers[f"low {name}"], numbers[f"high {name}"]) == pytest.approx((uar, uar))
    assert all(numbers[f"equal {name}"] == 1 for name in TESTS)


def test_rates_and_their_errors_are_those_of_the_trials():
    trial = judge(balanced_trial(), 50, np.random.default_rng(8))
    name = "jackknife t over speakers"
    trials = pd.DataFrame([trial] * 4)
    trials[f"low {name}"] = [0.1, 0.4, 0.1, 0.1]
    trials[f"high {name}"] = [0.6, 0.6, 0.6, 0.2]
    trials["equal McNemar over clips"] = [0.04, 0.02, 0.06, 0.005]
    trials["equal corrected t over folds"] = float("nan")
    truths = pd.DataFrame({"uar 0": [0.2, 0.4], "uar 1": [0.3, 0.5], "uar 2": [0.1, 0.1]})
    summary = summarise("d", trials, truths).set_index(["quantity", "method"])
    assert summary.loc[("coverage", name), "value"] == 0.5  # 0.35 is in the first and the third
    assert summary.loc[("coverage", name), "standard_error"] == pytest.approx(0.25)
    assert summary.loc[("size", "McNemar over clips"), "value"] == 0.75
    assert summary.loc[("size at 1 %", "McNemar over clips"), "value"] == 0.25
    assert summary.loc[("half width", name), "value"] == pytest.approx(0.175)
    assert ("size", "corrected t over folds") not in summary.index


def test_a_simulation_is_continued_and_gives_the_same_bytes(tmp_path):
    text = run_simulation(SMALL, tmp_path / "a")
    assert "| 6 speakers | 4 |" in text
    assert (tmp_path / "a" / "table.md").read_text(encoding="utf-8") == text
    assert (tmp_path / "a" / "run.json").exists()

    # Stopped early, then asked for more trials and another design.
    fewer = SMALL.designs["6 speakers"].model_copy(update={"num_trials": 1})
    short = SMALL.model_copy(update={"designs": {"6 speakers": fewer}})
    run_simulation(short, tmp_path / "b")
    (tmp_path / "b" / "trials" / "6-speakers__truth0.parquet").unlink()
    run_simulation(SMALL, tmp_path / "b")
    for name in ("results.csv", "table.md", "coverage.png", "config.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name

    other = SMALL.model_copy(update={"seed": 1})
    with pytest.raises(ConfigError, match="trials of another configuration"):
        run_simulation(other, tmp_path / "a")


def test_the_committed_table_is_of_the_committed_configuration():
    committed = Path(simulation.__file__).parents[1] / "results" / "simulation"
    assert load_config(SimulationConfig, committed / "config.yaml") == SimulationConfig()
    counts = pd.read_csv(committed / "results.csv").groupby("design")["num_trials"].unique()
    expected = {name: [design.num_trials] for name, design in SimulationConfig().designs.items()}
    assert {name: list(own) for name, own in counts.items()} == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("designs.x={num_speakers: 5, num_folds: 2}", "5 speakers can't be dealt evenly to 2"),
        ("designs.x={num_speakers: 4, num_folds: 2, tested_folds: 3}", "must be at most 2"),
        ("designs.x={num_speakers: 4, num_folds: 2, clips_per_class: [3, 1]}", "fewest first"),
        ("trials=5", "unknown key trials"),
    ],
)
def test_impossible_designs_are_named(override, message, tmp_path):
    done = CliRunner().invoke(app, ["simulate", "--output", str(tmp_path), "--set", override])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_the_command_prints_the_table(tmp_path):
    (tmp_path / "small.yaml").write_text(
        "num_truths: 2\nnum_resamples: 20\ntruth_speakers: 4\n"
        "world: {num_classes: 2, num_features: 3}\n"
        "designs: {tiny: {num_speakers: 4, num_folds: 2, num_trials: 2}}\n"
    )
    config = ["--config", str(tmp_path / "small.yaml"), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["simulate", *config])
    assert done.exit_code == 0, done.exception
    assert "| tiny | 2 |" in done.stdout
