"""Runs of every task through the real functions, on synthetic speech."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from finetune.config import ClassifierConfig
from finetune.evaluate import evaluate, load_classifier, predict_clips
from finetune.heard import TRAINING_CLIPS
from finetune.labels import MultiLabel, Shares, SingleLabel
from finetune.learning import learn
from finetune.material import Material
from finetune.predict import predict
from finetune.predictions import Predictions
from finetune.train import finetune as run_finetune
from finetune.votes import put_votes, read_votes
from ssl_audio.data.manifest import Clip, read_manifest, write_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import ConfigError, DataError, UserError
from ssl_audio.session import Session
from ssl_audio.train_state import TrainState
from tests.finetune.building import marginals
from tests.finetune.configuring import CLASSES, configure
from tests.finetune.joining import join

JOINT = tuple(f"{gender}_{emotion}" for gender in ("male", "female") for emotion in CLASSES)


@pytest.fixture(scope="module")
def joint_protocol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("protocol") / "joint.yaml"
    source = {"corpus": "synthetic", "emotions": {name: name for name in CLASSES}}
    about = {
        "name": "synthetic-gender-emotion-6/speakers",
        "task": "gender-emotion",
        "sources": [source],
        "classes": list(JOINT),
        "scheme": "leave-one-speaker-out",
    }
    path.write_text(yaml.safe_dump(about))
    return path


@pytest.mark.parametrize("head", ["gender-emotion", "single"])
def test_gender_and_emotion_are_learnt_together(
    head: str, prepared: Path, joint_protocol: Path, tmp_path: Path
) -> None:
    more = [f"data.folds={joint_protocol}", f"head={head}", "mixing.kind=specmix"]
    with pytest.raises(ConfigError, match="gives voices another gender"):
        run_finetune(configure(prepared, *more, "augment.pitch_semitones=6"), tmp_path / "other")
    run_finetune(configure(prepared, *more), tmp_path / "run")
    predictions = Predictions.load(tmp_path / "run" / "predictions.parquet")
    assert predictions.about.task == "gender-emotion" and predictions.about.classes == JOINT
    assert np.allclose(predictions.probabilities().sum(1), 1)
    joint = torch.from_numpy(predictions.probabilities().copy())
    genders, emotions = marginals(joint)
    product = (genders[:, :, None] * emotions[:, None, :]).flatten(1)
    factorises = torch.allclose(joint, product, atol=1e-4)
    # Tempering a product tempers both factors, so it stays one.
    assert factorises == (head == "gender-emotion")
    scores = json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]
    truth = [JOINT.index(label) for label in predictions.frame["label"]]
    decided = joint.argmax(1)
    right = [
        JOINT[a].split("_")[0] == JOINT[b].split("_")[0]
        for a, b in zip(truth, decided, strict=True)
    ]
    assert scores["test_gender_accuracy"] == pytest.approx(np.mean(right))
    told = [
        (JOINT[a].split("_")[1], JOINT[b].split("_")[1])
        for a, b in zip(truth, decided, strict=True)
    ]
    recalls = [np.mean([b == name for a, b in told if a == name]) for name in {a for a, _ in told}]
    assert scores["test_emotion_uar"] == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize(
    "combination", ["noisy_or", pytest.param("attention", marks=pytest.mark.slow)]
)
def test_clips_of_several_emotions_are_learnt_whole(
    combination: str,
    prepared: Path,
    encoder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    joined, folds = join(prepared, tmp_path)
    windows = f"windows={{seconds: 0.8, hop_seconds: 0.4, combination: {combination}}}"
    more = [f"data.corpus={joined}", f"data.folds={folds}", windows, "data.crop_seconds=null"]
    output = tmp_path / "run"
    more += [f"encoder={encoder}", "head=multilabel"]
    run_finetune(configure(prepared, *more), output)
    record = json.loads((output / "run.json").read_text())
    assert 0 < record["metrics"]["test_mean_ap"] <= 1
    classifier = load_classifier(output)
    corpus = PreparedCorpus.load(joined)
    everything = np.arange(len(corpus))
    found = predict_clips(classifier, corpus, everything, batch_size=5)
    alone = predict_clips(classifier, corpus, everything, batch_size=1)
    assert np.abs(found - alone).max() < 1e-5
    capsys.readouterr()
    evaluate(output, joined, 1, prepared, tmp_path / "scores.json")
    printed = capsys.readouterr().out
    told = json.loads((tmp_path / "scores.json").read_text())
    assert told["scores"]["mean_ap"] == pytest.approx(record["metrics"]["test_mean_ap"])
    assert f"{told['events']['segment_f1']:.4f}" in printed
    assert told["class_f1"].keys() == {*CLASSES}
    assert {"mean_recall", "macro_f1"} == told["groups"]["genders"][0]["scores"].keys()
    assert all(f"f1 of {name}" in printed for name in CLASSES) and "event_f1" in printed
    assert "num_true_events" in printed
    wrong = "and a crop of 1 s need not hold them all: set data.crop_seconds to null"
    with pytest.raises(UserError, match=wrong):
        run_finetune(configure(prepared, *more, "data.crop_seconds=1.0"), tmp_path / "cut")


def test_one_class_a_clip_is_scored_on_joined_clips_of_strange_speakers(
    prepared: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joined, _ = join(prepared, tmp_path)
    evaluate(tuned, joined, None, prepared)
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    learnt = read_manifest(tuned / TRAINING_CLIPS)
    heard = {clip.speaker for clip in learnt}
    strange = [c for c in PreparedCorpus.load(joined).clips if c.speaker not in heard]
    assert int(printed["clips"]) == len(strange) > 0
    assert int(printed["num_true_events"]) == sum(len(clip.emotions) for clip in strange)
    assert 0 <= float(printed["event_f1"]) <= 1
    with pytest.raises(UserError, match="and no --fold"):
        evaluate(tuned, joined, 1, prepared)
    everybody = tmp_path / "everybody"
    shutil.copytree(tuned, everybody)
    write_manifest(PreparedCorpus.load(prepared).clips, everybody / TRAINING_CLIPS)
    with pytest.raises(UserError, match="--utterances is for joined clips.*has none"):
        evaluate(tuned, prepared, None, prepared)
    with pytest.raises(UserError, match="no clip of .* by a speaker of whom .* has heard nothing"):
        evaluate(everybody, joined, None, prepared)


def test_a_timeline_of_a_real_file(prepared: Path, tuned: Path, tmp_path: Path) -> None:
    """Segments cover the file from its start to its end."""
    import soundfile as sf

    corpus = PreparedCorpus.load(prepared)
    samples = np.concatenate([corpus.views[0], corpus.views[7], corpus.views[3]])
    sf.write(tmp_path / "long.wav", samples, 16_000)
    predict([tmp_path / "long.wav"], [tuned], tmp_path / "answers.csv", "timeline")
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ends = [0.0, *(float(row["end"]) for row in rows)]
    assert [float(row["start"]) for row in rows] == pytest.approx(ends[:-1], abs=1e-3)
    assert ends[-1] == pytest.approx(len(samples) / 16_000, abs=1e-3)
    assert {row["emotion"] for row in rows} <= set(CLASSES)


CLIPS = [Clip(clip_id=name, path="", emotion=emotion) for name, emotion in (("x", "a"), ("y", "b"))]


def write_votes(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_votes_become_shares(tmp_path: Path) -> None:
    path = write_votes(tmp_path / "votes.csv", "clip_id,a,b,raters\nx,3,1,4\nz,0,2,5\n")
    votes = read_votes(path, ("a", "b"))
    assert votes["x"].tolist() == [0.75, 0.25] and votes["z"].tolist() == pytest.approx([0, 0.4])
    for space, wanted in (
        (SingleLabel(("a", "b")), [0.75, 0.25]),
        (MultiLabel(("a", "b")), [0.75, 0.25]),
    ):
        targets = put_votes(space.encode(CLIPS), CLIPS, votes, space)
        assert targets.tolist() == [wanted, [0, 1]]
    lone = [Clip(clip_id="z", path="", emotion="b")]
    single, several = SingleLabel(("a", "b")), MultiLabel(("a", "b"))
    assert put_votes(single.encode(lone), lone, votes, single).tolist() == [[0, 1]]
    assert put_votes(several.encode(lone), lone, votes, several)[0, 1] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip_id,a\nx,1\n", "expected rows under the columns clip_id, a, b"),
        ("clip_id,a,b\n", "expected rows"),
        ("clip_id,a,b\nx,1,often\n", "line 2: expected a number for each class"),
        ("clip_id,a,b\nx,0,0\n", "line 2: expected votes"),
        ("clip_id,a,b\nx,-1,2\n", "line 2: expected votes"),
        ("clip_id,a,b,raters\nx,1,9,4\n", "of 0 to 4 raters"),
        ("clip_id,a,b\nx,nan,2\n", "line 2: expected votes"),
        ("clip_id,a,b\nx,1,2\nx,1,2\n", "line 3: x is there twice"),
        ("clip_id,a,b\nx,1\n", "line 2: expected a number for each class"),
        ("clip_id,a,b\nx,1,2,3\n", "line 2: expected 3 cells, got 4"),
        ("clip_id,a,b,a\nx,1,2,3\n", "several columns a"),
        ("a,b,clip_id\n1,2,x\n1,2\n", "line 3: names no clip"),
        ('clip_id,a,b\n"x,1,2\ny,1,2\n', "close the quote"),
    ],
)
def test_odd_votes_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_votes(write_votes(tmp_path / "votes.csv", text), ("a", "b"))


def test_votes_are_learnt_from(
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = PreparedCorpus.load(prepared)
    rows = "".join(f"{clip.clip_id},2,1,1\n" for clip in corpus.clips[:40])
    path = write_votes(tmp_path / "votes.csv", f"clip_id,{','.join(CLASSES)}\n{rows}")
    targets: list[tuple[Material, Shares]] = []

    def note(
        config: ClassifierConfig, seconds: float, session: Session, material: Material
    ) -> TrainState:
        targets.append((material, material.targets))
        return learn(config, seconds, session, material)

    monkeypatch.setattr("finetune.train.learn", note)
    path.write_text(path.read_text() + "odd,2,1,1\n")
    run_finetune(configure(prepared, f"data.votes={path}"), tmp_path / "run")
    assert f"; 1 more are of clips that {prepared} lacks" in capsys.readouterr().err
    ((material, found),) = targets
    voted = {clip.clip_id for clip in corpus.clips[:40]}
    for index, row in zip(material.training, found.tolist(), strict=True):
        clip = corpus.clips[index]
        plain = [float(clip.emotion == name) for name in CLASSES]
        assert row == ([0.5, 0.25, 0.25] if clip.clip_id in voted else plain)
    none = write_votes(tmp_path / "none.csv", f"clip_id,{','.join(CLASSES)}\nodd,2,1,1\n")
    with pytest.raises(ValueError, match="names no training clip"):
        run_finetune(configure(prepared, f"data.votes={none}"), tmp_path / "other")
    answers = Predictions.load(tmp_path / "run" / "predictions.parquet")
    assert answers.about.notes == ("learnt from raters' votes",)
    path.write_text(path.read_text().replace(",2,1,1", ",1,2,1"))
    with pytest.raises(UserError, match="can't resume: data_fingerprint was"):
        run_finetune(configure(prepared, f"data.votes={path}"), tmp_path / "run", resume=True)
