"""Feature sets and classifiers: what they measure, how they choose, what their answers mean."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import runs
from benchmarks.protocol import run_benchmark
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems import SYSTEMS, egemaps, find_system, mfcc_statistics
from benchmarks.systems.base import LabelledClips, System, UnlabelledClips
from benchmarks.systems.egemaps import egemaps_functionals
from benchmarks.systems.feature_cache import FeatureCache
from benchmarks.systems.logistic_regression import LogisticRegressionClassifier
from benchmarks.systems.logmel_statistics import log_mel_statistics
from benchmarks.systems.mfcc_statistics import MfccLogistic, MfccSvm
from benchmarks.systems.random_forest import RandomForest
from benchmarks.systems.support_vectors import (
    LinearSupportVectors,
    RbfSupportVectors,
    SoftmaxSVC,
    choose_temperature,
    group_clips,
)
from finetune import metrics
from finetune.predictions import Predictions
from ssl_audio.config import build_config, load_config
from ssl_audio.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "benchmarks"
TONES = "tones-3/speakers3"
CLASSIC = ("mfcc_svm", "mfcc_random_forest", "egemaps", "egemaps_svm")


def make_blobs(num_classes=3, clips_each=8, speakers=5, spread=1.0, seed=0):
    """Features, labels and speakers: classes lie around corners, speakers are moved a little."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat(np.arange(num_classes), clips_each), speakers)
    names = np.repeat([f"s{number}" for number in range(speakers)], num_classes * clips_each)
    moved = rng.normal(0, 0.5, (speakers, 4))[
        np.repeat(np.arange(speakers), len(labels) // speakers)
    ]
    features = 2 * np.eye(num_classes, 4)[labels] + moved + rng.normal(0, spread, (len(labels), 4))
    return features, labels, tuple(names)


def fit_machine(features, labels, **settings):
    return make_pipeline(StandardScaler(), SoftmaxSVC(**settings)).fit(features, labels)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_the_probabilities_of_a_machine_name_the_class_that_it_decides(num_classes, kernel):
    features, labels, speakers = make_blobs(num_classes, spread=2.0)
    machine = RbfSupportVectors() if kernel == "rbf" else LinearSupportVectors()
    model = fit_machine(features, labels, C=1.0, kernel=kernel)
    decided = model.predict(features)
    model = machine.calibrate(model, features, labels, speakers)
    probabilities = model.predict_proba(features)
    assert np.array_equal(probabilities.argmax(axis=1), decided)
    assert len(np.unique(decided)) == num_classes
    assert np.allclose(probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_temperature_is_that_of_scikit_learn(num_classes):
    features, labels, speakers = make_blobs(num_classes, spread=1.5)
    model = fit_machine(features, labels)
    model = RbfSupportVectors().calibrate(model, features, labels, speakers)
    folds = list(GroupKFold(5).split(features, labels, [f"speaker {one}" for one in speakers]))
    theirs = CalibratedClassifierCV(
        make_pipeline(StandardScaler(), SoftmaxSVC()),
        method="temperature",
        cv=folds,
        ensemble=False,
    ).fit(features, labels)
    new, _, _ = make_blobs(num_classes, spread=1.5, seed=1)
    assert np.allclose(model.predict_proba(new), theirs.predict_proba(new), atol=1e-3)


def test_the_temperature_makes_confidence_honest_on_new_speakers():
    features, labels, speakers = make_blobs(spread=2.0, speakers=8)
    new, truths, _ = make_blobs(spread=2.0, speakers=8, seed=9)
    model = fit_machine(features, labels, C=30.0)
    before = model.predict_proba(new)
    after = RbfSupportVectors().calibrate(model, features, labels, speakers).predict_proba(new)
    surprise = [-np.log(one[np.arange(len(new)), truths]).mean() for one in (before, after)]
    assert surprise[1] < surprise[0] - 0.05
    assert np.array_equal(before.argmax(1), after.argmax(1))


def test_speakers_are_held_out_whole_and_unknown_ones_with_their_copies():
    features = np.array([[0.0], [1.0], [1.0], [2.0]])
    assert group_clips(features, ("a", "b", "a", "b")) == [
        *("speaker a", "speaker b", "speaker a", "speaker b")
    ]
    unknown = group_clips(features, (None, None, None, "b"))
    assert unknown[1] == unknown[2] != unknown[0]
    assert unknown[3] == "speaker b"
    assert len(set(group_clips(features, ("a", "a", "a", "a")))) == 3


def test_a_class_of_one_speaker_leaves_its_speaker_out_of_the_temperature():
    features, labels, speakers = make_blobs(spread=1.5)
    lonely = (labels != 2) | (np.array(speakers) == "s0")
    features, labels = features[lonely], labels[lonely]
    groups = np.array(speakers)[lonely]
    model = fit_machine(features, labels)
    by_hand = []
    for rest, held_out in GroupKFold(5).split(features, labels, groups):
        if set(groups[held_out]) != {"s0"}:
            part = fit_machine(features[rest], labels[rest])
            by_hand.append((part.decision_function(features[held_out]), labels[held_out]))
    scores, truths = (np.concatenate(part) for part in zip(*by_hand, strict=True))
    found = choose_temperature(model, features, labels, list(groups))

    def measure_surprise(temperature):
        return -np.log(softmax(scores / temperature, axis=1)[np.arange(len(truths)), truths]).sum()

    grid = np.geomspace(0.01, 100, 2001)
    best = grid[np.argmin([measure_surprise(temperature) for temperature in grid])]
    assert found == pytest.approx(best, rel=0.01)


def test_nothing_to_hold_out_leaves_the_temperature_as_it_is():
    features, labels, _ = make_blobs(2, clips_each=1, speakers=1)
    assert choose_temperature(fit_machine(features, labels), features, labels, ["a", "b"]) == 1.0
    assert choose_temperature(fit_machine(features, labels), features, labels, ["a", "a"]) == 1.0


def test_every_pair_of_penalty_and_width_competes_simplest_first():
    machines = [model[-1] for model in RbfSupportVectors().build_candidates(seed=0)]
    pairs = [(machine.C, machine.gamma) for machine in machines]
    assert pairs == sorted(pairs)
    assert len(set(pairs)) == 15
    assert {machine.kernel for machine in machines} == {"rbf"}
    penalties = [model[-1].C for model in LinearSupportVectors().build_candidates(seed=0)]
    assert penalties == sorted(penalties) and len(penalties) == 7
    regressions = LogisticRegressionClassifier(inverse_penalties=(0.5,)).build_candidates(seed=0)
    assert [model[-1].C for model in regressions] == [0.5]


def test_a_forest_has_nothing_to_choose_and_grows_by_its_seed():
    (first,), (second,) = (RandomForest(num_trees=5).build_candidates(seed) for seed in (1, 2))
    features, labels, _ = make_blobs(spread=2.0)
    answers = [model.fit(features, labels).predict_proba(features) for model in (first, second)]
    assert len(first[-1].estimators_) == 5
    assert not np.array_equal(*answers)


def labelled(corpus, speakers) -> LabelledClips:
    chosen = [index for index, clip in enumerate(corpus.clips) if clip.speaker in speakers]
    classes = ("high", "low", "mid")
    return LabelledClips(
        [corpus.views[index] for index in chosen],
        np.array([classes.index(corpus.clips[index].emotion) for index in chosen]),
        tuple(corpus.clips[index].speaker for index in chosen),
    )


def build(system_type: type[System], **settings) -> System:
    config = build_config(system_type.settings_type, settings)
    return system_type(config, ("high", "low", "mid"), 0, FeatureCache())


@pytest.mark.parametrize("name", CLASSIC)
def test_the_classics_tell_tones_apart(name, tone_corpus):
    if name.startswith("egemaps"):
        pytest.importorskip("opensmile", reason="the extra egemaps is not installed")
    system = build(find_system(name))
    system.fit(labelled(tone_corpus, "abc"), labelled(tone_corpus, "d"))
    test = labelled(tone_corpus, "ef")
    answer = system.predict(UnlabelledClips(test.waveforms))
    assert metrics.uar(metrics.confusion_matrix(test.labels, answer)) >= 0.9


def test_settings_of_features_and_classifier_reach_them(tone_corpus):
    system = build(MfccLogistic, features={"num_mfcc": 13}, classifier={"inverse_penalties": [0.1]})
    system.fit(labelled(tone_corpus, "abc"), labelled(tone_corpus, "d"))
    assert system.parameters == 3 * (2 * 13 + 1)
    with pytest.raises(ConfigError, match="unknown key classifier.gammas"):
        build(MfccLogistic, classifier={"gammas": [0.1]})


@pytest.mark.parametrize(
    ("system", "settings", "message"),
    [
        ("mfcc_statistics", "features: {num_mfcc: 0}", "features.num_mfcc: .*greater than 0"),
        ("mfcc_statistics", "features: {num_mfcc: 129}", "less than or equal to 128, got 129"),
        ("logmel_statistics", "features: {num_mels: 0}", "features.num_mels: .*greater than 0"),
        ("logmel_statistics", "features: {num_mels: 190}", "less than 190, got 190"),
        ("permuted_labels", "features: {num_mels: -1}", "greater than 0, got -1"),
        (
            "mfcc_statistics",
            "classifier: {inverse_penalties: []}",
            "classifier.inverse_penalties: .*at least 1 item",
        ),
        (
            "logmel_statistics",
            "classifier: {inverse_penalties: [1, -1]}",
            "classifier.inverse_penalties.1: .*greater than 0, got -1",
        ),
        ("mfcc_statistics", "classifier: {inverse_penalties: [.inf]}", "finite number, got inf"),
        ("mfcc_svm", "classifier: {inverse_penalties: [0]}", "greater than 0, got 0"),
        ("mfcc_svm", "classifier: {gammas: []}", "classifier.gammas: .*at least 1 item"),
        ("mfcc_svm", "classifier: {gammas: [-0.1]}", "greater than 0, got -0.1"),
        ("egemaps_svm", "classifier: {inverse_penalties: []}", "at least 1 item"),
        ("mfcc_random_forest", "classifier: {num_trees: 0}", "num_trees: .*greater than 0, got 0"),
    ],
)
def test_impossible_settings_are_named(system, settings, message, tones, tmp_path):
    row = f"systems={{{system}: {{settings: {{{settings}}}}}}}"
    config = load_config(BenchmarkConfig, None, [f"corpus={tones}", f"folds={TONES}", row])
    with pytest.raises(ConfigError, match=f"systems.{system}.settings: .*{message}"):
        run_benchmark(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_as_many_bands_as_can_be_hold_something():
    noise = np.random.default_rng(0).integers(-3000, 3000, 16_000).astype(np.int16)
    bands = log_mel_statistics(noise, 189)[:189]
    assert bands.min() > bands.max() - 40
    coefficients = mfcc_statistics.mfcc_statistics(noise, 128)
    assert coefficients.shape == (256,)


def test_support_vectors_are_counted_with_what_they_need(tone_corpus):
    system = build(MfccSvm, classifier={"inverse_penalties": [1.0], "gammas": [0.01]})
    system.fit(labelled(tone_corpus, "abc"), labelled(tone_corpus, "d"))
    machine = system._model[-1]
    vectors = machine.n_support_.sum()
    assert system.parameters == vectors * 80 + 2 * vectors + 3


def test_egemaps_are_opensmiles_own_numbers(tone_corpus):
    opensmile = pytest.importorskip("opensmile", reason="the extra egemaps is not installed")
    waveform = np.asarray(tone_corpus.views[0])
    features = egemaps_functionals(waveform)
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    table = smile.process_signal(waveform / 32768, 16_000)
    assert features.shape == (88,) and features.dtype == np.float64
    assert np.array_equal(features, table.to_numpy()[0])


@pytest.mark.parametrize("num_samples", [1, 50, egemaps.SHORTEST_SAMPLES - 1, 2000])
@pytest.mark.parametrize("level", [0, 100, -32768])
def test_egemaps_of_short_and_silent_clips_are_finite(num_samples, level):
    pytest.importorskip("opensmile", reason="the extra egemaps is not installed")
    features = egemaps_functionals(np.full(num_samples, level, np.int16))
    assert features.shape == (88,)
    assert np.isfinite(features).all()


@pytest.fixture
def no_opensmile(monkeypatch):
    monkeypatch.setattr(egemaps, "find_spec", lambda name: None)


def test_without_opensmile_the_row_is_refused_before_anything_runs(no_opensmile, tones, tmp_path):
    overrides = [f"corpus={tones}", "folds=tones-3/speakers3", "systems={chance: {}, egemaps: {}}"]
    config = load_config(BenchmarkConfig, None, overrides)
    with pytest.raises(ConfigError, match=r"systems.egemaps: .*pip install \"ssl-audio\[egemaps\]"):
        run_benchmark(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run_benchmark(config, tmp_path / "out", only=["chance"])
    assert len(list((tmp_path / "out" / "predictions").iterdir())) == 3


def test_without_opensmile_the_default_rows_are_the_others(no_opensmile):
    rows = set(runs.choose_rows(BenchmarkConfig(corpus="x"), ()))
    assert rows == {name for name in SYSTEMS if not name.startswith("egemaps")}
    assert not runs._runs_here("egemaps") and runs._runs_here("mfcc_svm")


def test_with_opensmile_nothing_is_refused():
    if importlib.util.find_spec("opensmile") is None:
        pytest.skip("the extra egemaps is not installed")
    assert runs._runs_here("egemaps") and runs._runs_here("egemaps_svm")


def test_every_floor_and_classic_is_in_the_recipe():
    free, all_of_them = (
        set(load_config(BenchmarkConfig, CONFIGS / name, ["corpus=prepared"]).systems)
        for name in ("classics.yaml", "egemaps.yaml")
    )
    floors = ("chance", "majority", "permuted_labels", "logmel_statistics", "mfcc_statistics")
    assert all_of_them == {*floors, *CLASSIC, "mfcc_xgboost"}
    assert free == {name for name in all_of_them if not name.startswith("egemaps")}


def test_a_row_costs_the_same_whether_its_features_were_there(tones, tmp_path, monkeypatch):
    """The first run makes the features, the second, in another process's place, finds them."""
    row = "system: mfcc_statistics, settings: {classifier: {inverse_penalties: [0.1, 1.0]}}"
    overrides = [f"corpus={tones}", "folds=tones-3/speakers3", "fold_numbers=[1]"]

    def cost(name):
        rows = f"systems={{{name}: {{title: {name}, {row}}}}}"
        run_benchmark(load_config(BenchmarkConfig, None, [*overrides, rows]), tmp_path)
        (path,) = (tmp_path / "predictions").glob(f"*{name}__fold1*")
        about = Predictions.load(path).about
        return about.train_seconds, about.real_time_factor

    calls: list[int] = []

    def slow_statistics(waveform, num_mfcc):
        calls.append(1)
        time.sleep(0.01)
        return quick(waveform, num_mfcc)

    quick = mfcc_statistics.mfcc_statistics
    monkeypatch.setattr(mfcc_statistics, "mfcc_statistics", slow_statistics)
    made, made_factor = cost("first")
    found, found_factor = cost("second")
    assert len(calls) == 72 + 1, "the second run found every feature"
    assert min(made, found) >= 48 * 0.01
    audio_seconds = 24 * 0.35
    assert min(made_factor, found_factor) >= 24 * 0.01 / audio_seconds
    assert found_factor == pytest.approx(made_factor, rel=0.5)
