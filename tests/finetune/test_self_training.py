"""Which unlabelled clips are learnt from, and under which class."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune import self_training
from finetune.config import ClassifierConfig
from finetune.evaluate import load_classifier
from finetune.labels import SingleLabel
from finetune.learning import learn
from finetune.material import Material
from finetune.model import AudioClassifier
from finetune.predictions import Predictions
from finetune.self_training import enlarge, open_unlabelled
from finetune.train import finetune as run_finetune
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.errors import ConfigError, UserError
from ssl_audio.run_record import read_run_record
from ssl_audio.session import Session
from ssl_audio.train_state import TrainState
from tests.finetune.configuring import PROTOCOL, configure

CLASSES = ("a", "b")


def build_corpus(labels: list[str | None], first: int) -> PreparedCorpus:
    clips = tuple(
        Clip(clip_id=f"c{n}", path="", emotion=label, audio_sha256=f"sha{first + n}")
        for n, label in enumerate(labels)
    )
    sounds = (np.random.default_rng(first + n) for n in range(len(labels)))
    views = tuple(sound.integers(-9000, 9000, 1600).astype(np.int16) for sound in sounds)
    return PreparedCorpus(Path("pool"), "made", clips, np.full(len(labels), 1600), "", views)


def test_only_sure_and_new_clips_are_added_under_the_teacher_s_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labelled = build_corpus(["a", "b", "a", "b", "a", "b"], 0)
    pool = build_corpus([None] * 4, 5)  # the first has the audio of the last labelled one
    parts = (np.array([0, 1]), np.array([2, 3, 4, 5]))
    material = Material(labelled, *parts, SingleLabel(CLASSES))
    answers = {
        4: [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]],  # on validation; the last is wrong
        3: [[0.65, 0.35], [0.05, 0.95], [0.69, 0.31]],
    }

    def answer(_: object, corpus: PreparedCorpus, indices: np.ndarray) -> np.ndarray:
        return np.array(answers[len(indices)])

    monkeypatch.setattr(self_training, "predict_clips", answer)
    enlarged = enlarge(material, torch.nn.Identity(), pool, wanted_accuracy=0.9)  # type: ignore[arg-type]
    assert (enlarged.num_added, enlarged.num_offered) == (1, 4)
    larger = enlarged.material
    assert [larger.corpus.clips[index].clip_id for index in larger.training] == [
        "c0", "c1", "pool/c2",
    ]  # fmt: skip
    assert larger.targets.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert (larger.corpus.views[larger.training[-1]] == pool.views[2]).all()
    assert np.array_equal(larger.validation, material.validation)
    everything = enlarge(material, torch.nn.Identity(), pool, wanted_accuracy=0.7)  # type: ignore[arg-type]
    assert everything.num_added == 3
    nothing = enlarge(
        replace(material, validation=np.array([3, 2, 5, 4])),
        torch.nn.Identity(),
        pool,
        0.9,  # type: ignore[arg-type]
    )
    assert nothing.num_added == 0 and "0 of 4 unlabelled" in nothing.note


def test_changed_copies_of_labelled_clips_are_left_out(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip of the test made softer and cut has other audio, and must not be learnt from."""
    corpus = PreparedCorpus.load(prepared)
    fold = corpus.folds(PROTOCOL).fold(1)
    (tested,) = corpus.indices(fold.test[:1])
    copy = replace(corpus.clips[tested], clip_id="copy", emotion=None, audio_sha256="another")
    new = replace(copy, clip_id="new", audio_sha256="new")
    sound = corpus.views[tested]
    changed = (sound[800:] * 0.7).astype(np.int16)
    (tmp_path / "pool").mkdir()
    pairs = [(copy, changed), (new, sound[::-1])]
    written = [(replace(clip, num_samples=len(view)), view) for clip, view in pairs]
    write_corpus(tmp_path / "pool", "folder", written)
    pool = open_unlabelled(tmp_path / "pool")
    parts = (corpus.indices(fold.train), corpus.indices(fold.validation))
    labels = SingleLabel(corpus.folds(PROTOCOL).classes)
    material = Material(corpus, *parts, labels)
    truth = labels.encode([corpus.clips[index] for index in material.validation])

    def answer(_: object, asked: PreparedCorpus, indices: np.ndarray) -> np.ndarray:
        right = len(indices) == len(truth)
        return truth.astype(np.float64) if right else np.eye(truth.shape[1])[: len(indices)]

    monkeypatch.setattr(self_training, "predict_clips", answer)
    enlarged = enlarge(material, torch.nn.Identity(), pool, 0.5)  # type: ignore[arg-type]
    added = enlarged.material.training[len(material.training) :]
    names = [enlarged.material.corpus.clips[index].clip_id for index in added]
    assert names == ["pool/new"] and enlarged.note == "self-training on 1 of 2 unlabelled clips"


@pytest.fixture
def unlabelled(prepared: Path, tmp_path: Path) -> Path:
    """Twelve clips of the corpus played backwards, without labels."""
    corpus = PreparedCorpus.load(prepared)
    root = tmp_path / "unlabelled"
    root.mkdir()
    pairs = [
        (
            replace(corpus.clips[n], emotion=None, audio_sha256=f"backwards {n}"),
            corpus.views[n][::-1],
        )
        for n in range(12)
    ]
    write_corpus(root, "folder", pairs)
    return root


def test_a_run_trains_teacher_and_student_and_says_so(
    prepared: Path, unlabelled: Path, tmp_path: Path
) -> None:
    more = [f"self_training.corpus={unlabelled}", "self_training.wanted_accuracy=0.01"]
    run_finetune(configure(prepared, *more), tmp_path / "run")
    about = Predictions.load(tmp_path / "run" / "predictions.parquet").about
    assert about.system == "Ours, from scratch, self-training"
    (note,) = [note for note in about.notes if note.startswith("self-training on")]
    num_added = int(note.split()[2])
    assert num_added > 0 and note.endswith("of 12 unlabelled clips")
    teacher = Predictions.load(tmp_path / "run" / "teacher" / "predictions.parquet").about
    assert teacher.system == "Ours, from scratch"
    learnt = read_manifest(tmp_path / "run" / "training.parquet")
    fold = PreparedCorpus.load(prepared).folds(PROTOCOL).fold(1)
    assert len(learnt) == len(fold.train) + len(fold.validation) + num_added
    assert isinstance(load_classifier(tmp_path / "run"), AudioClassifier)
    (tmp_path / "run" / "run.json").unlink()
    other = configure(prepared, *more, "train.lr=0.1")
    with pytest.raises(ConfigError, match="trained otherwise"):
        run_finetune(other, tmp_path / "run", resume=True)
    # How a timeline is asked for is free to change, of the teacher too.
    later = configure(prepared, *more, "timeline.pause_seconds=0.4")
    run_finetune(later, tmp_path / "run", resume=True)
    assert load_classifier(tmp_path / "run").config.timeline["pause_seconds"] == 0.4
    # Files may be replaced under their names: what the teacher learnt from is told by content.
    record = tmp_path / "run" / "teacher" / "run.json"
    told = read_run_record(record.parent)["data_fingerprint"]
    record.write_text(record.read_text().replace(told, told[::-1]))
    with pytest.raises(ConfigError, match="trained otherwise"):
        run_finetune(later, tmp_path / "run", resume=True)


def test_few_labels_are_the_same_few_for_teacher_and_student(
    prepared: Path, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of the labels leaves every sure unlabelled clip; a level is chosen by both."""
    learnt: list[list[str]] = []

    def note(
        config: ClassifierConfig, seconds: float, session: Session, material: Material
    ) -> TrainState:
        learnt.append([material.corpus.clips[index].clip_id for index in material.training])
        return learn(config, seconds, session, material)

    monkeypatch.setattr("finetune.train.learn", note)
    more = [f"self_training.corpus={unlabelled}", "self_training.wanted_accuracy=0.01"]
    more += ["training_share=0.3", "strategy=probe", "level=chosen"]
    run_finetune(configure(prepared, *more), tmp_path / "run")
    teacher, student = learnt
    fold = PreparedCorpus.load(prepared).folds(PROTOCOL).fold(1)
    assert 0 < len(teacher) < 0.5 * len(fold.train) and set(teacher) < set(fold.train)
    added = [name for name in student if name.startswith("unlabelled/")]
    assert student == [*teacher, *added] and added
    about = Predictions.load(tmp_path / "run" / "predictions.parquet").about
    assert f"self-training on {len(added)} of 12 unlabelled clips" in about.notes
    listed = read_manifest(tmp_path / "run" / "training.parquet")
    assert len(listed) == len(teacher) + len(fold.validation) + len(added)


def test_other_parts_of_labelled_recordings_are_left_out(tmp_path: Path) -> None:
    def clip(name: str, parent: str | None, emotion: str | None, number: int) -> tuple[Clip, Any]:
        audio = np.full(1600, number, np.int16)
        sha256 = hashlib.sha256(audio.tobytes()).hexdigest()
        labels = {"parent": parent, "emotion": emotion}
        measured = {"num_samples": len(audio), "audio_sha256": sha256}
        return Clip(clip_id=name, path=name, **labels, **measured), audio

    write_corpus(
        tmp_path,
        "folder",
        [
            clip("whole", None, "a", 1),
            clip("alone", None, None, 2),
            clip("part", "whole", None, 3),
            clip("same", None, None, 1),
            clip("first", "tape", "b", 4),
            clip("second", "tape", None, 5),
            clip("third", "reel", None, 6),
            clip("fourth", "reel", None, 7),
        ],
    )
    names = [found.clip_id for found in open_unlabelled(tmp_path).clips]
    assert sorted(names) == ["alone", "fourth", "third"]


def test_labelled_clips_only_are_refused(prepared: Path) -> None:
    with pytest.raises(UserError, match="every clip of .* has an emotion"):
        open_unlabelled(prepared)
