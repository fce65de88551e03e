"""Systems that answer as one row of the table: what is fitted to what, and what the row says."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.protocol import run_benchmark
from benchmarks.results import load_results
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems import SYSTEMS, find_system
from benchmarks.systems.base import FeatureCache, LabelledClips, System, UnlabelledClips
from benchmarks.systems.ensemble import EnsembleSettings, SystemEnsemble, derive_seed
from finetune.metrics import decide
from ssl_audio.config import Config, build_config
from ssl_audio.errors import ConfigError, UserError
from ssl_audio.run_record import read_run_record

CLASSES = ("high", "low", "mid")
TONES = "tones-3/speakers3"
LINEAR = {"logmel_statistics": {}, "mfcc_statistics": {}}


class FakeSettings(Config):
    sure: float = 0.8
    """Probability of the class that it names; some values also choose what it says of itself."""
    runs_here: bool = True


class Fake(System[FakeSettings]):
    """Names the class that a clip's first sample numbers; remembers what it was fitted to."""

    title = "Fake"
    settings_type = FakeSettings
    made: list["Fake"] = []  # noqa: RUF012

    def __init__(self, settings, classes, seed, cache):
        super().__init__(settings, classes, seed, cache)
        self.fits = []
        Fake.made.append(self)

    @classmethod
    def suffix(cls, settings):
        return ", random weights" if settings.sure < 0.5 else ""

    @classmethod
    def check(cls, settings):
        if not settings.runs_here:
            raise UserError("fake needs a package: pip install fake")

    def fit(self, train, validation):
        self.fits.append((train, validation))

    def predict(self, clips):
        answers = np.full((len(clips.waveforms), 3), (1 - self.settings.sure) / 2)
        places = [int(waveform[0]) for waveform in clips.waveforms]
        answers[np.arange(len(places)), places] = self.settings.sure
        return answers

    def saw(self, clips):
        return self.settings.sure == 0.6 and len(clips.waveforms) == 1

    choices = property(lambda self: {"device": "cuda"} if self.settings.sure == 0.6 else {})
    training_share = property(lambda self: 0.5 if self.settings.sure == 0.6 else 0.1)
    parameters = property(lambda self: None if self.settings.sure == 0.7 else 10)
    pretraining_data = property(lambda self: "pool" if self.settings.sure in (0.6, 0.4) else "")
    weights = property(lambda self: f"w{self.settings.sure}" if self.pretraining_data else "")
    notes = property(lambda self: (f"seed {self.seed}",) if self.settings.sure == 0.6 else ())


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setitem(SYSTEMS, "fake", f"{Fake.__module__}:Fake")
    monkeypatch.setattr(Fake, "made", [])
    return Fake


def build(members, rule="mean", seed=0, cache=None) -> SystemEnsemble:
    settings = build_config(EnsembleSettings, {"rule": rule, "members": members})
    return SystemEnsemble(settings, CLASSES, seed, cache or FeatureCache())


def labelled(labels, inner=None) -> LabelledClips:
    """Clips whose first sample is what ``Fake`` answers; speakers play no part."""
    return LabelledClips(
        [np.array([label, 5, 5], np.int16) for label in labels],
        np.array(labels),
        ("s",) * len(labels),
        None if inner is None else np.array(inner),
    )


def take(corpus, speakers) -> LabelledClips:
    chosen = [index for index, clip in enumerate(corpus.clips) if clip.speaker in speakers]
    return LabelledClips(
        [corpus.views[index] for index in chosen],
        np.array([CLASSES.index(corpus.clips[index].emotion) for index in chosen]),
        tuple(corpus.clips[index].speaker for index in chosen),
    )


@pytest.mark.parametrize("rule", ["mode", "mean"])
def test_answers_are_those_of_the_members_alone_combined(rule, tone_corpus):
    cache = FeatureCache()
    train, validation, test = (take(tone_corpus, part) for part in ("abc", "d", "ef"))
    clips = UnlabelledClips(test.waveforms)
    alone = []
    for name in LINEAR:
        system_type = find_system(name)
        system = system_type(system_type.settings_type(), CLASSES, 0, cache)
        system.fit(train, validation)
        alone.append(system.predict(clips))
    ensemble = build(LINEAR, rule, cache=cache)
    ensemble.fit(train, validation)
    votes = [decide(answer) for answer in alone] if rule == "mode" else alone
    assert np.allclose(ensemble.predict(clips), np.mean(votes, axis=0), atol=1e-12)


def test_the_better_member_gets_the_weight(fake):
    """Of two that name the right class, the surer one; of two that name a wrong one, the other."""
    members = {"sure": {"system": "fake"}, "unsure": {"system": "fake", "settings": {"sure": 0.5}}}
    right, wrong = labelled([0, 1, 2, 0]), replace(labelled([0, 1, 2]), labels=np.array([1, 2, 0]))
    for validation, expected in ((right, [1, 0]), (wrong, [0, 1])):
        ensemble = build(members, "weighted")
        ensemble.fit(labelled([0, 1, 2]), validation)
        weights = ensemble.choices["weights"]
        assert list(weights) == ["sure", "unsure"]
        assert list(weights.values()) == pytest.approx(expected, abs=1e-3)
        answer = ensemble.predict(UnlabelledClips(right.waveforms[:1]))[0]
        assert answer[0] == pytest.approx(0.8 if expected[0] else 0.5, abs=1e-3)


@pytest.mark.parametrize("rule", ["mode", "mean", "weighted"])
def test_without_inner_folds_every_member_is_fitted_once_as_if_alone(rule, fake):
    ensemble = build({"fake": {"repeats": 3}}, rule)
    train, validation = labelled([0, 1, 2]), labelled([2, 1])
    ensemble.fit(train, validation)
    assert len(fake.made) == 3
    for member in fake.made:
        ((given_train, given_validation),) = member.fits
        assert given_train is train and given_validation is validation


@pytest.mark.parametrize(("rule", "num_made"), [("mode", 2), ("mean", 2), ("weighted", 8)])
def test_weights_come_from_members_that_did_not_learn_from_what_they_judge(rule, num_made, fake):
    """Those that answer in the end are given the inner folds, and so may learn from both parts."""
    ensemble = build({"fake": {"repeats": 2}}, rule)
    train, validation = labelled([0, 1, 2], [0, 0, 1]), labelled([2, 1], [2, 2])
    everything = [id(wave) for wave in (*train.waveforms, *validation.waveforms)]
    ensemble.fit(train, validation)
    assert len(fake.made) == num_made
    for member in fake.made[:2]:
        assert member.fits == [(train, validation)]
    for index, judge in enumerate(fake.made[2:]):
        ((rest, held_out),) = judge.fits
        assert rest.inner is None and held_out.inner is None
        assert held_out.labels.tolist() == [[0, 1], [2], [2, 1]][index // 2]
        heard = [id(wave) for wave in rest.waveforms]
        judged = [id(wave) for wave in held_out.waveforms]
        assert sorted(heard + judged) == sorted(everything)


def test_weights_are_those_of_the_answers_in_every_inner_fold(fake, monkeypatch):
    """Each of two members is right in one inner fold, of three clips and of one."""
    monkeypatch.setattr(
        Fake,
        "predict",
        lambda self, clips: np.array(
            [
                [1.0, 0, 0] if (wave[1] == 7) == (self.settings.sure > 0.5) else [0, 1.0, 0]
                for wave in clips.waveforms
            ]
        ),
    )
    members = {"few": {"system": "fake"}, "many": {"system": "fake", "settings": {"sure": 0.4}}}
    train, validation = labelled([0, 0, 0], [0, 0, 0]), labelled([0], [1])
    validation.waveforms[0][1] = 7
    ensemble = build(members, "weighted")
    ensemble.fit(train, validation)
    assert ensemble.choices["weights"] == pytest.approx({"few": 0.25, "many": 0.75}, abs=1e-3)


def test_a_system_that_remembers_validation_gets_no_weight_for_that(monkeypatch, fake):
    """Given inner folds it answers rightly on all it has heard, and as a coin elsewhere."""

    def fit(self, train, validation):
        heard = [train] if train.inner is None else [train, validation]
        self.heard = {id(wave) for part in heard for wave in part.waveforms}

    def predict(self, clips):
        if self.settings.sure != 0.9:
            return np.full((len(clips.waveforms), 3), 1 / 3)
        rows = [
            [0.9, 0.05, 0.05] if id(wave) in self.heard else [0.1, 0.45, 0.45]
            for wave in clips.waveforms
        ]
        return np.array(rows)

    monkeypatch.setattr(Fake, "fit", fit)
    monkeypatch.setattr(Fake, "predict", predict)
    members = {
        "parrot": {"system": "fake", "settings": {"sure": 0.9}},
        "chance": {"system": "fake"},
    }
    ensemble = build(members, "weighted")
    ensemble.fit(labelled([0] * 4, [0, 0, 1, 1]), labelled([0] * 4, [2] * 4))
    assert ensemble.choices["weights"]["parrot"] < 1e-3


def test_repeats_differ_by_seed_and_rows_of_other_seeds_share_none(fake):
    for seed in (0, 1):
        build({"fake": {"repeats": 5}}, seed=seed)
    seeds = [member.seed for member in fake.made]
    assert len(set(seeds)) == 10
    assert seeds[0] == 0 and seeds[5] == 1
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seeds[3] == derive_seed(0, 3)


def test_five_trees_of_other_seeds_vote(tone_corpus):
    cache = FeatureCache()
    train, validation, test = (take(tone_corpus, part) for part in ("ab", "c", "ef"))
    vote = build(
        {"mfcc_xgboost": {"settings": {"n_estimators": 3}, "repeats": 5}}, "mode", 0, cache
    )
    vote.fit(train, validation)
    answer = vote.predict(UnlabelledClips(test.waveforms))
    assert set(np.unique((answer * 5).round(9))) <= set(range(6))
    alone = [member.predict(UnlabelledClips(test.waveforms)) for member in vote._members.values()]
    assert np.abs(alone[0] - alone[1]).max() > 0


def test_a_row_says_of_its_members_what_they_say_of_themselves(fake):
    plain, deep = {"system": "fake"}, {"system": "fake", "settings": {"sure": 0.6}, "repeats": 2}
    ensemble = build({"plain": plain, "deep": deep, "odd": {**plain, "settings": {"sure": 0.4}}})
    assert ensemble.parameters == 40
    assert ensemble.training_share == 0.5
    assert ensemble.pretraining_data == "pool"
    assert ensemble.weights == "w0.4, w0.6"
    assert ensemble.notes == ("deep 1: seed 0", f"deep 2: seed {derive_seed(0, 1)}")
    assert ensemble.choices == {
        "device": "cpu and cuda",
        "members": {
            "plain": {},
            "deep 1": {"device": "cuda"},
            "deep 2": {"device": "cuda"},
            "odd": {},
        },
    }
    assert SystemEnsemble.suffix(ensemble.settings) == (
        ", mean of plain, 2 x deep and odd (random weights)"
    )
    one, two = UnlabelledClips(labelled([0]).waveforms), UnlabelledClips(labelled([0, 1]).waveforms)
    assert ensemble.saw(one) and not ensemble.saw(two)


def test_what_one_member_can_not_say_the_row_can_not(fake):
    members = {"plain": {"system": "fake"}, "odd": {"system": "fake", "settings": {"sure": 0.7}}}
    ensemble = build(members)
    assert ensemble.parameters is None
    assert (ensemble.pretraining_data, ensemble.weights, ensemble.notes) == ("", "", ())
    assert not ensemble.saw(UnlabelledClips(labelled([0]).waveforms))
    assert ensemble.choices["device"] == "cpu"


def test_a_member_that_can_not_run_here_is_named(fake):
    members = {"fake": {}, "other": {"system": "fake", "settings": {"runs_here": False}}}
    settings = build_config(EnsembleSettings, {"members": members})
    with pytest.raises(UserError, match="members.other: fake needs a package"):
        SystemEnsemble.check(settings)


def test_an_ensemble_may_be_a_member():
    vote = {"rule": "mode", "members": {"majority": {"repeats": 3}}}
    ensemble = build({"vote": {"system": "ensemble", "settings": vote}, "chance": {}})
    ensemble.fit(labelled([0, 0, 1]), labelled([2]))
    answer = ensemble.predict(UnlabelledClips(labelled([1]).waveforms))
    assert answer[0] == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    assert SystemEnsemble.suffix(ensemble.settings) == (
        ", mean of vote (mode of 3 x majority) and chance"
    )


def test_a_record_holds_every_setting_of_the_members():
    settings = build_config(
        EnsembleSettings, {"members": {"a": {"system": "mfcc_xgboost"}, **LINEAR}}
    )
    dumped = settings.model_dump(mode="json")
    assert dumped["members"]["a"]["settings"]["n_estimators"] == 200
    assert dumped["members"]["mfcc_statistics"]["system"] == "mfcc_statistics"
    assert build_config(EnsembleSettings, dumped) == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": {"chance": {}}}, "at least two members, and here it has 1"),
        ({"members": {}}, "at least two members, and here it has 0"),
        ({"members": {"a": {}, "chance": {}}}, "a: unknown system 'a': choose one of chance,"),
        (
            {"members": {"chance": {}, "b": {"system": "mfcc_xgboost", "settings": {"trees": 1}}}},
            r"b: unknown key trees \(known: num_mfcc,",
        ),
        ({"members": {"chance": {"repeats": 0}}}, "members.chance.repeats: .*greater than 0"),
        ({"members": {"chance": {"seed": 3}}}, "unknown key members.chance.seed"),
        ({"rule": "median"}, "rule: .*'mode', 'mean' or 'weighted'"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_config(EnsembleSettings, settings)


def test_runs_by_a_recipe_and_its_record_holds_the_weights(tones, tmp_path):
    row = {"rule": "weighted", "members": {"logmel_statistics": {}, "chance": {}}}
    config = BenchmarkConfig.model_validate(
        {
            "corpus": tones,
            "folds": TONES,
            "fold_numbers": [1],
            "systems": {"weighted": {"system": "ensemble", "settings": row}},
        }
    )
    run_benchmark(config, tmp_path)
    (result,) = load_results(tmp_path)
    assert result.about.system == "Ensemble, weighted of logmel_statistics and chance"
    record = read_run_record(next(tmp_path.glob("runs/*")))
    weights = record["choices"]["weights"]
    assert weights["logmel_statistics"] > 0.9 and sum(weights.values()) == pytest.approx(1)
    assert record["device"] == "cpu"
