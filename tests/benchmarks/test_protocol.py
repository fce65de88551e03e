import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import runs
from benchmarks.protocol import run_benchmark
from benchmarks.results import load_results
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import System
from finetune.predictions import Predictions
from ssl_audio.config import load_config
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import ConfigError, DataError, UserError

TONES = "tones-3/speakers3"


class Spy(System):
    """Keeps what it is given; answers by the first sample, so that rows can be told apart."""

    title = "Spy"
    given: list = []  # noqa: RUF012

    def fit(self, train, validation):
        self.given.append(("fit", train, validation))

    def predict(self, clips):
        self.given.append(("predict", clips))
        first = np.array([abs(int(waveform[0])) % 100 / 200 for waveform in clips.waveforms])
        return np.stack([first, first, 1 - 2 * first], axis=1)


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setitem(SYSTEMS, "spy", Spy)
    monkeypatch.setattr(Spy, "given", [])
    return Spy


def configure(corpus, *overrides) -> BenchmarkConfig:
    return load_config(BenchmarkConfig, None, [f"corpus={corpus}", f"folds={TONES}", *overrides])


def same(waveform, other) -> bool:
    return waveform.tobytes() == other.tobytes()


def test_test_labels_are_withheld_and_test_clips_kept_from_training(tones, spy, tmp_path):
    run_benchmark(configure(tones, "systems={spy: {}}", "fold_numbers=[2]"), tmp_path)
    (_, train, validation), (_, clips) = spy.given
    corpus = PreparedCorpus.load(tones)
    fold = corpus.folds(TONES).fold(2)
    assert set(vars(clips)) == {"waveforms"}
    assert len(clips.waveforms) == len(fold.test)
    assert set(train.speakers) == {"e", "f"}
    assert set(validation.speakers) == {"a", "b"}
    learnt = {waveform.tobytes() for waveform in (*train.waveforms, *validation.waveforms)}
    assert not learnt & {waveform.tobytes() for waveform in clips.waveforms}
    for index, label in zip(corpus.indices(fold.train), train.labels, strict=True):
        assert corpus.clips[index].emotion == ("high", "low", "mid")[label]


def test_predictions_stand_beside_the_right_clips(tones, spy, tmp_path):
    run_benchmark(configure(tones, "systems={spy: {}}", "seeds=[5]"), tmp_path)
    corpus = PreparedCorpus.load(tones)
    for number in (1, 2, 3):
        stored = Predictions.load(
            tmp_path / f"predictions/tones-3-speakers3__spy__fold{number}__seed5.parquet"
        )
        assert stored.about.system == "Spy"
        assert stored.about.protocol == TONES
        first, second = sorted(set(stored.frame["speaker"]))
        assert stored.about.genders == {first: "female", second: "male"}
        assert len(stored.frame) == 24
        for row in stored.frame.itertuples():
            index = corpus.indices([row.clip_id])[0]
            assert row.high == abs(int(corpus.views[index][0])) % 100 / 200
            assert (row.label, row.speaker) == (row.clip_id.split("-")[1], row.clip_id[0])
            assert (row.fold, row.seed) == (number, 5)


def test_a_second_call_runs_what_is_missing_and_nothing_else(tones, spy, tmp_path, capsys):
    config = configure(tones, "systems={spy: {}}")
    run_benchmark(config, tmp_path)
    kept = (
        (tmp_path / "predictions/tones-3-speakers3__spy__fold1__seed0.parquet").stat().st_mtime_ns
    )
    (tmp_path / "predictions/tones-3-speakers3__spy__fold2__seed0.parquet").unlink()
    # What a run that was killed while writing leaves behind.
    (tmp_path / "predictions/.tones-3-speakers3__spy__fold2__seed0.parquet.partial").write_bytes(
        b"half"
    )
    spy.given.clear()
    run_benchmark(config, tmp_path)
    assert [kind for kind, *_ in spy.given] == ["fit", "predict"]
    assert "2 of 3 runs are there already" in capsys.readouterr().out
    assert (
        tmp_path / "predictions/tones-3-speakers3__spy__fold1__seed0.parquet"
    ).stat().st_mtime_ns == kept
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == [
        f"tones-3-speakers3__spy__fold{number}__seed0.parquet" for number in (1, 2, 3)
    ]


def test_a_run_says_what_it_took(tones, tmp_path):
    overrides = ("systems={majority: {}}", "fold_numbers=[3]")
    run_benchmark(configure(tones, *overrides), tmp_path)
    record = json.loads(
        (tmp_path / "runs/tones-3-speakers3__majority__fold3__seed0/run.json").read_text()
    )
    assert record["config"]["protocol"] == TONES
    assert record["metrics"]["uar"] == pytest.approx(1 / 3)
    assert record["process_peak_mib"] > 50
    assert record["fit_seconds"] >= 0


def test_runs_made_with_other_settings_are_not_taken_for_these(tones, tmp_path):
    row = "systems={{mfcc_xgboost: {{settings: {{n_estimators: {}}}}}}}"
    run_benchmark(configure(tones, row.format(2), "fold_numbers=[1]"), tmp_path)
    with pytest.raises(ConfigError, match="was made with other settings: choose another --output"):
        run_benchmark(configure(tones, row.format(3), "fold_numbers=[1]"), tmp_path)


def test_a_leak_stops_everything_before_it_starts(tones, spy, tmp_path):
    folds = PreparedCorpus.load(tones).folds(TONES)
    good, bad = folds.fold(1), folds.fold(2)
    bad = Fold(2, (*bad.train, bad.test[0]), bad.validation, bad.test)
    Folds("tones-3/mine", folds.classes, (good, bad)).save(tmp_path / "mine.csv")
    config = configure(tones, f"folds={tmp_path / 'mine.csv'}", "systems={spy: {}}")
    with pytest.raises(DataError, match="tones-3/mine fold 2 leaks"):
        run_benchmark(config, tmp_path / "out")
    assert not spy.given
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["clip_id", "speaker", "fold", "seed", "label"])
def test_a_class_named_as_a_column_is_refused(name, tones, spy, tmp_path):
    folds = PreparedCorpus.load(tones).folds(TONES)
    Folds(TONES, ("high", "low", name), folds.folds).save(tmp_path / "mine.csv")
    config = configure(tones, f"folds={tmp_path / 'mine.csv'}", "systems={spy: {}}")
    with pytest.raises(DataError, match=f"{TONES}: a class is called '{name}'.* rename the class"):
        run_benchmark(config, tmp_path / "out")
    assert not spy.given


def test_a_protocol_that_leaks_on_purpose_is_marked(tones, tmp_path):
    folds = PreparedCorpus.load(tones).folds(TONES)
    Folds("tones-3/random-LEAKY", folds.classes, folds.folds).save(tmp_path / "leaky.csv")
    config = configure(
        tones, f"folds={tmp_path / 'leaky.csv'}", "systems={chance: {}}", "fold_numbers=[1]"
    )
    run_benchmark(config, tmp_path)
    (result,) = load_results(tmp_path)
    assert result.about.leak == "leaky"


@pytest.mark.parametrize(
    ("overrides", "only", "message"),
    [
        (["systems={nothing: {}}"], [], "unknown system 'nothing': choose one of chance"),
        ([], ["nothing"], "--only nothing: the rows are chance"),
        (["systems={a: {system: chance}, b: {system: chance}}"], [], "both called 'Chance'"),
        (["systems={a/b: {system: chance}}"], [], "letters, digits"),
        (
            ["systems={chance: {settings: {size: 1}}}"],
            [],
            r"systems.chance.settings: unknown key size",
        ),
        (["fold_numbers=[4]"], [], "has folds 1 to 3, asked for 4"),
        (["folds=nothing"], [], f"neither a folds file nor a protocol.*{TONES}"),
    ],
)
def test_mistakes_are_told_before_anything_runs(overrides, only, message, tones, tmp_path):
    with pytest.raises(UserError, match=message):
        run_benchmark(configure(tones, *overrides), tmp_path / "out", only)
    assert not (tmp_path / "out").exists()


def test_the_same_system_can_make_several_rows(tones, tmp_path):
    rows = "systems={a: {system: chance, title: First}, b: {system: chance, title: Second}}"
    run_benchmark(configure(tones, rows, "fold_numbers=[1]"), tmp_path, only=["b"])
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == [
        "tones-3-speakers3__b__fold1__seed0.parquet"
    ]


def test_a_system_that_does_not_give_probabilities_is_our_mistake(
    tones, spy, tmp_path, monkeypatch
):
    monkeypatch.setattr(spy, "predict", lambda self, clips: np.ones((len(clips.waveforms), 3)))
    with pytest.raises(ValueError, match="spy fold 1 seed 0: expected probabilities"):
        run_benchmark(configure(tones, "systems={spy: {}}"), tmp_path)
    assert not list(tmp_path.glob("predictions/*"))


def test_a_fold_needs_every_part(tones, tmp_path):
    folds = PreparedCorpus.load(tones).folds(TONES)
    fold = folds.fold(1)
    Folds(TONES, folds.classes, (Fold(1, fold.train, (), fold.test),)).save(tmp_path / "f.csv")
    with pytest.raises(DataError, match="fold 1 has no validation clips"):
        run_benchmark(configure(tones, f"folds={tmp_path / 'f.csv'}"), tmp_path)


def test_defaults_run_every_system():
    assert set(runs.BenchmarkConfig(corpus="x").systems) == set(SYSTEMS)


def test_a_stored_file_reads_back_equal(tones, tmp_path):
    run_benchmark(configure(tones, "systems={chance: {}}", "fold_numbers=[1]"), tmp_path)
    path = tmp_path / "predictions/tones-3-speakers3__chance__fold1__seed0.parquet"
    stored = Predictions.load(path)
    stored.save(tmp_path / "again.parquet")
    again = Predictions.load(tmp_path / "again.parquet")
    assert again.about == stored.about
    pd.testing.assert_frame_equal(again.frame, stored.frame)
