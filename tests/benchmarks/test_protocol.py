import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks import runs
from benchmarks.importing import import_predictions
from benchmarks.protocol import DEVELOPMENT_NOTE, run_benchmark
from benchmarks.results import load_results
from benchmarks.runs import BenchmarkConfig
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import System
from finetune.predictions import Predictions
from ssl_audio.config import load_config
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.prepared import PreparedCorpus, folds_path, write_corpus
from ssl_audio.errors import ConfigError, DataError, UserError

TONES = "tones-3/speakers3"
PITCHES = ("high", "low", "mid")


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
    monkeypatch.setitem(SYSTEMS, "spy", f"{Spy.__module__}:Spy")
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
    # Their order tells nothing either: sorted names would give a class away by its place.
    places = [
        next(place for place, one in enumerate(clips.waveforms) if same(one, corpus.views[index]))
        for index in corpus.indices(fold.test)
    ]
    assert sorted(places) == list(range(24)) and places != list(range(24))
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
    first, second = (
        tmp_path / f"predictions/tones-3-speakers3__spy__fold{number}__seed0.parquet"
        for number in (1, 2)
    )
    kept = first.stat().st_mtime_ns
    second.unlink()
    # What a run that was killed while writing leaves behind.
    second.with_name(f".{second.name}.partial").write_bytes(b"half")
    spy.given.clear()
    run_benchmark(config, tmp_path)
    assert [kind for kind, *_ in spy.given] == ["fit", "predict"]
    assert "2 of 3 runs are there already" in capsys.readouterr().out
    assert first.stat().st_mtime_ns == kept
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
    assert record["peak_mib"] > 50
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
        (["fold_numbers=[4]"], [], "has the folds 1, 2, 3; asked for 4"),
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


def test_a_title_that_another_row_of_the_folder_has_is_refused(tones, spy, tmp_path):
    row = "systems={{{}: {{system: chance, title: {}}}}}"
    run_benchmark(configure(tones, row.format("a", "First"), "fold_numbers=[1]"), tmp_path)
    run_benchmark(configure(tones, row.format("a", "First"), "fold_numbers=[2]"), tmp_path)
    run_benchmark(configure(tones, row.format("b", "Second"), "fold_numbers=[1]"), tmp_path)
    message = r"row c is called 'First', and so is the one of \S+__a__fold1__seed0.parquet"
    with pytest.raises(ConfigError, match=message):
        run_benchmark(configure(tones, row.format("c", "First"), "fold_numbers=[3]"), tmp_path)
    elsewhere = write_protocol(tmp_path)
    third = configure(tones, row.format("c", "First"), "fold_numbers=[1]", elsewhere)
    run_benchmark(third, tmp_path)
    names = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert {name.split("__")[1] for name in names if "loso6" in name} == {"c"}
    assert {name.split("__")[1] for name in names if "loso6" not in name} == {"a", "b"}


def test_a_title_that_an_imported_row_has_is_refused(tones, tmp_path):
    run_benchmark(configure(tones, "systems={chance: {}}", "fold_numbers=[1]"), tmp_path / "a")
    (made,) = (tmp_path / "a" / "predictions").iterdir()
    import_predictions(made, "Majority class", None, tmp_path / "b")
    with pytest.raises(ConfigError, match="row majority is called 'Majority class', and so is"):
        run_benchmark(configure(tones, "systems={majority: {}}"), tmp_path / "b")


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


def test_defaults_run_every_system_that_is_installed(monkeypatch):
    monkeypatch.setattr(runs, "_runs_here", lambda name: name != "ours")
    rows = runs.choose_rows(runs.BenchmarkConfig(corpus="x"), ())
    assert set(rows) == set(SYSTEMS) - {"ours"}
    named = runs.choose_rows(runs.BenchmarkConfig(corpus="x"), ["ours"])
    assert set(named) == {"ours"}


def test_a_stored_file_reads_back_equal(tones, tmp_path):
    run_benchmark(configure(tones, "systems={chance: {}}", "fold_numbers=[1]"), tmp_path)
    path = tmp_path / "predictions/tones-3-speakers3__chance__fold1__seed0.parquet"
    stored = Predictions.load(path)
    stored.save(tmp_path / "again.parquet")
    again = Predictions.load(tmp_path / "again.parquet")
    assert again.about == stored.about
    pd.testing.assert_frame_equal(again.frame, stored.frame)


PROTOCOL = """
name: {name}
task: {task}
sources: [{{corpus: tones}}]
classes: [{classes}]
scheme: leave-one-speaker-out
development: true
"""


def write_protocol(folder, name="tones-3/loso6", task="single", classes="high, low, mid"):
    path = folder / "protocol.yaml"
    path.write_text(PROTOCOL.format(name=name, task=task, classes=classes), encoding="utf-8")
    return f"folds={path}"


def test_inner_folds_reach_the_system(tones, spy, tmp_path):
    """Five groups over the other five speakers, one each; the validation clips are one of them."""
    run_benchmark(
        configure(tones, "systems={spy: {}}", "fold_numbers=[3]", write_protocol(tmp_path)),
        tmp_path / "out",
    )
    (_, train, validation), (_, clips) = spy.given
    assert len(clips.waveforms) == 12 and set(train.speakers) | set(validation.speakers) == {
        *"abdef"
    }
    groups = {}
    for part in (train, validation):
        for speaker, number in zip(part.speakers, part.inner, strict=True):
            groups.setdefault(int(number), set()).add(speaker)
    assert sorted(groups) == [0, 1, 2, 3, 4] and set(map(len, groups.values())) == {1}
    assert len(set(validation.inner)) == 1


def test_without_inner_folds_there_are_no_groups(tones, spy, tmp_path):
    run_benchmark(configure(tones, "systems={spy: {}}", "fold_numbers=[1]"), tmp_path)
    (_, train, validation), _ = spy.given
    assert train.inner is None and validation.inner is None


def test_a_development_corpus_and_the_task_are_told(tones, spy, tmp_path):
    task = write_protocol(
        tmp_path,
        "tones-6/loso6",
        "gender-emotion",
        ", ".join(f"{gender}_{tone}" for gender in ("male", "female") for tone in PITCHES),
    )
    run_benchmark(configure(tones, "systems={chance: {}}", task), tmp_path / "out")
    (result,) = load_results(tmp_path / "out")
    assert result.about.task == "gender-emotion" and len(result.about.classes) == 6
    assert result.about.notes == (DEVELOPMENT_NOTE,)
    assert set(result.frame["label"].str.split("_").str[0]) == {"male", "female"}


def test_multilabel_is_refused(tones, tmp_path):
    config = configure(tones, write_protocol(tmp_path, task="multilabel"))
    with pytest.raises(ConfigError, match="tones-3/loso6 is multilabel: the systems give a clip"):
        run_benchmark(config, tmp_path / "out")


def test_two_corpora_learn_from_one_and_test_on_the_other(tones, spy, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    corpus = PreparedCorpus.load(tones)
    rng = np.random.default_rng(0)
    renamed = [
        (
            replace(clip, clip_id=f"other-{clip.clip_id}"),
            rng.integers(-999, 999, len(view), dtype=np.int16),
        )
        for clip, view in zip(corpus.clips, corpus.views, strict=True)
    ]
    renamed = [
        (clip.with_measured(audio_sha256=f"other{clip.audio_sha256}"), v) for clip, v in renamed
    ]
    write_corpus(other, "noise", renamed)
    (tmp_path / "cross.yaml").write_text(
        """
name: cross/tones->noise
sources: [{corpus: tones}, {corpus: noise}]
classes: [high, low, mid]
""",
        encoding="utf-8",
    )
    run_benchmark(
        configure(tones, f"folds={tmp_path}/cross.yaml", "systems={spy: {}}").model_copy(
            update={"corpus": (tones, other)}
        ),
        tmp_path / "out",
    )
    (_, train, validation), (_, clips) = spy.given
    assert len(train.waveforms) + len(validation.waveforms) == len(clips.waveforms) == 72
    tested = {waveform.tobytes() for waveform in clips.waveforms}
    assert tested == {view.tobytes() for _, view in renamed}
    assert {speaker.split(":")[0] for speaker in train.speakers} == {"tones"}


def test_copies_in_the_test_are_told(tones, spy, tmp_path):
    corpus = PreparedCorpus.load(tones)
    folder = tmp_path / "copies"
    (folder / "folds").mkdir(parents=True)
    pairs = list(zip(corpus.clips, corpus.views, strict=True))
    twin = replace(pairs[0][0], clip_id=f"{pairs[0][0].clip_id}-again")
    write_corpus(folder, "tones", sorted([*pairs, (twin, pairs[0][1])], key=lambda p: p[0].clip_id))
    folds = corpus.folds(TONES)
    first = folds.folds[0]
    with_twin = replace(first, test=tuple(sorted((*first.test, twin.clip_id))))
    replace(folds, folds=(with_twin, *folds.folds[1:])).save(folds_path(folder, TONES))
    run_benchmark(configure(folder, "systems={spy: {}}", "fold_numbers=[1]"), tmp_path / "out")
    (result,) = load_results(tmp_path / "out")
    assert result.about.copies == ((pairs[0][0].clip_id, twin.clip_id),)
