"""Imports under protocols that have a file: their classes, folds, task and tested corpus."""

import csv
import hashlib
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from benchmarks.evidence import gather_evidence
from benchmarks.importing import Declared, import_predictions
from benchmarks.protocol import DEVELOPMENT_NOTE, PROTOCOLS
from benchmarks.results import load_results
from benchmarks.tables import build_tables
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip, write_manifest
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.data.protocols import load_protocol, open_protocol, protocol_path
from ssl_audio.errors import UserError

TONES = "tones-3/speakers3"
CROSS = "cross/ravdess->emodb-4"
JOINT = "ravdess-gender-emotion-10/balanced6"
DEDUP = "hackerearth-7/dedup5"
FOLD_BY_FOLD = "test clips against the protocol's, fold by fold"
RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
GERMAN = ("anger", "boredom", "happiness", "neutral", "sadness")
PROTOCOL = """
name: {name}
task: {task}
sources: [{{corpus: tones}}]
classes: [{classes}]
scheme: leave-one-speaker-out
development: true
"""
JOINT_TONES = [f"{gender}_{tone}" for gender in ("male", "female") for tone in ("high", "low")]
JOINT_TONES += ["male_mid", "female_mid"]


def prepare(root, name, speakers, emotions, split=None):
    """A prepared corpus with a clip of each speaker and emotion."""
    root.mkdir()
    pairs = []
    for speaker, emotion in product(speakers, emotions):
        clip_id = f"{name}-{speaker}-{emotion}"
        digest = hashlib.sha256(clip_id.encode())
        audio = np.frombuffer(digest.digest(), np.int16)
        clip = Clip(
            clip_id=clip_id,
            path=f"{clip_id}.wav",
            speaker=speaker,
            gender="male" if int(speaker) % 2 else "female",
            emotion=emotion,
            split=split,
            num_samples=len(audio),
            audio_sha256=digest.hexdigest(),
        )
        pairs.append((clip, audio))
    write_corpus(root, name, pairs)
    return root


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Small ones of the shape of RAVDESS and EMO-DB."""
    root = tmp_path_factory.mktemp("corpora")
    actors = [f"{actor:02d}" for actor in range(1, 25)]
    return [
        prepare(root / "ravdess", "ravdess", actors, RAVDESS, "speech"),
        prepare(root / "emodb", "emodb", ("03", "08", "09"), GERMAN),
    ]


def predict(protocol, roots, path, speakers=str):
    """A CSV of predictions that are right, with the classes in another order than the protocol's.

    Args:
        protocol: name or file.
        roots: prepared corpora.
        path: of the CSV.
        speakers: gives what the CSV calls a speaker.
    """
    opened = open_protocol(str(protocol), [PreparedCorpus.load(root) for root in roots], PROTOCOLS)
    clips = {clip.clip_id: clip for clip in opened.corpus.clips}
    rows = [
        (name, speakers(clips[name].speaker), fold.number, clips[name].emotion)
        for fold in opened.folds.folds
        for name in fold.test
    ]
    return write(path, sorted(opened.folds.classes), rows)


def write(path, classes, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["clip_id", "speaker", "fold", "seed", "label", *classes])
        for clip_id, speaker, fold, label in rows:
            sure = [float(name == label) for name in classes]
            writer.writerow([clip_id, speaker, fold, 0, label, *sure])
    return path


def write_protocol(path, name, task, classes):
    text = PROTOCOL.format(name=name, task=task, classes=", ".join(classes))
    path.write_text(text, encoding="utf-8")
    return path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("speakers", [str, lambda name: name.removeprefix("emodb:"), lambda _: ""])
def test_a_protocol_of_two_corpora_is_checked_under_its_own_classes(speakers, corpora, tmp_path):
    source = predict(CROSS, corpora, tmp_path / "p.csv", speakers)
    verdict = import_predictions(source, "Mine", CROSS, tmp_path, corpora=corpora).verdict
    assert verdict.leak == "" and FOLD_BY_FOLD in verdict.checked
    (result,) = load_results(tmp_path)
    assert result.about.classes == ("angry", "happy", "neutral", "sad")
    assert set(result.speakers) == {"emodb:03", "emodb:08", "emodb:09"}
    assert result.about.genders == {
        "emodb:03": "male",
        "emodb:08": "female",
        "emodb:09": "male",
    }
    assert result.about.notes[0] == DEVELOPMENT_NOTE


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("03,1,0,happy,", "03,1,0,sad,", "has the label 'sad', by the corpus it is 'happy'"),
        ("03,1,0,", "09,1,0,", "is of speaker 'emodb:09', in the corpus of 'emodb:03'"),
        ("emodb-03-anger", "emodb-03-boredom", f"{CROSS} tests it in none"),
        ("emodb-03-anger", "ravdess-03-angry", f"{CROSS} tests it in none"),
    ],
)
def test_a_protocol_of_two_corpora_is_checked_clip_by_clip(old, new, message, corpora, tmp_path):
    source = predict(CROSS, corpora, tmp_path / "p.csv")
    change(source, old, new)
    with pytest.raises(UserError, match=message):
        import_predictions(source, "Mine", CROSS, tmp_path / "r", corpora=corpora)


def test_every_corpus_of_the_protocol_is_needed(corpora, tmp_path):
    source = predict(CROSS, corpora, tmp_path / "p.csv")
    with pytest.raises(UserError, match="a prepared ravdess is needed, got"):
        import_predictions(source, "Mine", CROSS, tmp_path / "r", corpora=corpora[1:])
    with pytest.raises(UserError, match="cross/mine is no protocol of several corpora"):
        import_predictions(source, "Mine", "cross/mine", tmp_path / "r", corpora=corpora)


def test_the_name_alone_tells_task_order_of_classes_and_speakers(corpora, tmp_path):
    joint = predict(JOINT, corpora[:1], tmp_path / "joint.csv")
    verdict = import_predictions(joint, "Mine", JOINT, tmp_path / "joint").verdict
    assert "task and classes against the protocol's" in verdict.checked
    assert f"{FOLD_BY_FOLD} (give --folds or --corpus)" in verdict.unchecked
    (result,) = load_results(tmp_path / "joint")
    assert result.about.task == "gender-emotion" and DEVELOPMENT_NOTE not in result.about.notes
    assert result.about.classes == load_protocol(protocol_path(PROTOCOLS, JOINT)).classes
    build_tables(tmp_path / "joint")
    assert "gender_accuracy" in (tmp_path / "joint/results.csv").read_text()
    cross = predict(CROSS, corpora, tmp_path / "cross.csv", lambda name: name.split(":")[1])
    import_predictions(cross, "Mine", CROSS, tmp_path / "cross")
    (result,) = load_results(tmp_path / "cross")
    assert result.speakers[0] == "emodb:03" and DEVELOPMENT_NOTE in result.about.notes


def test_joint_classes_are_checked_against_the_corpus(corpora, tmp_path):
    source = predict(JOINT, corpora[:1], tmp_path / "p.csv")
    imported = import_predictions(source, "Mine", JOINT, tmp_path / "r", corpora=corpora[:1])
    assert len(imported.files) == 6 and FOLD_BY_FOLD in imported.verdict.checked
    change(source, "ravdess-01-calm,01,1,0,male_calm", "ravdess-01-calm,01,1,0,female_calm")
    with pytest.raises(UserError, match="label 'female_calm', by the corpus it is 'male_calm'"):
        import_predictions(source, "Wrong", JOINT, tmp_path / "r", corpora=corpora[:1])
    change(source, "ravdess-01-calm,01,1,0,female_calm", "ravdess-01-calm,01,2,0,male_calm")
    with pytest.raises(UserError, match=f"{JOINT} tests it in fold 1: give what was done"):
        import_predictions(source, "Wrong", JOINT, tmp_path / "r", corpora=corpora[:1])


def test_joint_classes_of_a_list_of_folds_are_checked_too(tone_corpus, tmp_path):
    file = write_protocol(tmp_path / "x.yaml", "tones-6/x", "gender-emotion", JOINT_TONES)
    source = predict(file, [tone_corpus.root], tmp_path / "p.csv")
    folds = open_protocol(str(file), [tone_corpus], PROTOCOLS).folds
    folds.save(tmp_path / "folds.csv")
    use = {"folds": tmp_path / "folds.csv", "corpora": [tone_corpus.root]}
    import_predictions(source, "Mine", "tones-6/x", tmp_path / "r", **use)
    (result,) = load_results(tmp_path / "r")
    assert result.about.task == "gender-emotion"
    change(source, ",0,female_high,", ",0,male_high,")
    with pytest.raises(UserError, match="label 'male_high', by the corpus it is 'female_high'"):
        import_predictions(source, "Wrong", "tones-6/x", tmp_path / "r", **use)


def test_a_protocols_file_can_be_given(tone_corpus, tmp_path):
    file = write_protocol(tmp_path / "x.yaml", "tones-6/loso6", "gender-emotion", JOINT_TONES)
    source = predict(file, [tone_corpus.root], tmp_path / "p.csv")
    for name, roots in (("alone", []), ("with its corpus", [tone_corpus.root])):
        results = tmp_path / name
        verdict = import_predictions(
            source, "Mine", "tones-6/loso6", results, folds=file, corpora=roots
        ).verdict
        assert (FOLD_BY_FOLD in verdict.checked) == bool(roots)
        (result,) = load_results(results)
        assert result.about.task == "gender-emotion" and DEVELOPMENT_NOTE in result.about.notes
        assert result.about.classes == tuple(JOINT_TONES)
    with pytest.raises(UserError, match="was tested by tones-6/y, the folds are tones-6/loso6"):
        import_predictions(source, "Mine", "tones-6/y", tmp_path / "r", folds=file)


def test_a_row_of_some_folds_is_told_to_be_part_of_the_protocol(tone_corpus, tmp_path):
    corpus = tone_corpus
    folds = corpus.folds(TONES)
    labels = {clip.clip_id: (clip.speaker, clip.emotion) for clip in corpus.clips}
    rows = [(name, labels[name][0], 2, labels[name][1]) for name in folds.fold(2).test]
    source = write(tmp_path / "p.csv", folds.classes, rows)
    tests = tuple(replace(fold, train=(), validation=()) for fold in folds.folds)
    replace(folds, folds=tests).save(tmp_path / "tests.csv")
    for name, use, ratio in (
        ("corpus", {"corpora": [corpus.root]}, 0.5),
        ("tests alone", {"folds": tmp_path / "tests.csv"}, None),
    ):
        import_predictions(source, "Mine", TONES, tmp_path / name, **use)
        (result,) = load_results(tmp_path / name)
        assert (result.about.num_folds, result.about.test_to_train) == (3, ratio)
        assert "Fold 2 only, of the protocol's 3" in build_tables(tmp_path / name)


def test_folds_of_another_kind_than_the_name_says_are_refused(corpora, tmp_path):
    source = predict(JOINT, corpora[:1], tmp_path / "p.csv")
    file = write_protocol(tmp_path / "x.yaml", JOINT, "gender-emotion", JOINT_TONES)
    with pytest.raises(UserError, match=f"is not the {JOINT} of ravdess-gender-emotion-10__"):
        import_predictions(source, "Mine", JOINT, tmp_path / "r", folds=file)
    corpus = PreparedCorpus.load(corpora[0])
    folds = open_protocol(JOINT, [corpus], PROTOCOLS).folds
    first, second, *others = folds.folds
    swapped = (replace(first, number=2), replace(second, number=1), *others)
    for name, parts in (("right", folds.folds), ("swapped", swapped)):
        Folds(JOINT, folds.classes, parts).save(tmp_path / f"{name}.csv")
    use = {"corpora": corpora[:1], "folds": tmp_path / "right.csv"}
    import_predictions(source, "Mine", JOINT, tmp_path / "r", **use)
    with pytest.raises(UserError, match="swapped.csv test other clips than"):
        import_predictions(
            source, "Mine", JOINT, tmp_path / "r", **use | {"folds": tmp_path / "swapped.csv"}
        )


@pytest.mark.parametrize(
    ("protocol", "classes", "message"),
    [
        (JOINT, ["male_calm", "female_calm"], "the classes are male_calm, female_calm, those of"),
        (CROSS, ["anger", "happiness", "neutral", "sadness"], "those of cross/ravdess->emodb-4"),
        ("ravdess-multilabel/emobox6", RAVDESS, "is multilabel: a row here has one label"),
    ],
)
def test_what_does_not_fit_the_name_is_refused(protocol, classes, message, tmp_path):
    source = write(tmp_path / "p.csv", classes, [("a", "1", 1, classes[0])])
    with pytest.raises(UserError, match=message):
        import_predictions(source, "Mine", protocol, tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("protocol", "pool", "leak"),
    [
        (CROSS, "competition+emodb", "transductive"),
        (CROSS, "LibriSpeech, EMO-DB", "transductive"),
        (CROSS, "competition+ravdess", ""),
        ("cross/emodb-4->ravdess", "competition+ravdess", "transductive"),
        ("cross/emodb-4->ravdess", "competition+emodb", ""),
        ("cross/ravdess->hackerearth-4", "competition", "transductive"),
        (DEDUP, "competition", "transductive"),
        (DEDUP, "competition+train", "transductive"),
        (DEDUP, "AudioSet", ""),
        ("ravdess-speech-8/loso24", "competition+train", ""),
        ("cross/x->y-4", "y", "transductive"),
        ("cross/x->y-4", "x", ""),
    ],
)
def test_a_pool_that_holds_the_tested_corpus_is_transductive(protocol, pool, leak, tmp_path):
    path = protocol_path(PROTOCOLS, protocol)
    classes = load_protocol(path).classes if path.is_file() else ("a", "b")
    source = write(tmp_path / "p.csv", classes, [("a", "1", 1, classes[0])])
    declared = Declared(pretraining_data=pool)
    import_predictions(source, "Mine", protocol, tmp_path / "r", declared=declared)
    (result,) = load_results(tmp_path / "r")
    assert result.about.leak == leak


def test_the_corpus_at_hand_tells_what_a_protocol_of_ones_own_tests(corpora, tmp_path):
    source = write(tmp_path / "p.csv", GERMAN, [("emodb-03-anger", "03", 1, "anger")])
    declared = Declared(pretraining_data="competition+emodb")
    for name, roots, leak in (("with", corpora[1:], "transductive"), ("without", [], "")):
        results = tmp_path / name
        import_predictions(source, "M", "mine-5/x", results, corpora=roots, declared=declared)
        (result,) = load_results(results)
        assert result.about.leak == leak


def test_training_on_clips_that_the_protocol_leaves_out_is_seen(corpora, tmp_path):
    """Other clips of a tested speaker: named in a list, or in a manifest with its own speakers."""
    source = predict(CROSS, corpora, tmp_path / "p.csv")
    corpus = PreparedCorpus.load(corpora[1])
    (bored,) = (clip for clip in corpus.clips if clip.clip_id == "emodb-03-boredom")
    write_manifest([bored], tmp_path / "training.parquet")
    (tmp_path / "training.csv").write_text("fold,clip_id\n1,emodb-03-boredom\n")
    for name in ("training.parquet", "training.csv"):
        verdict = import_predictions(
            source, name, CROSS, tmp_path, corpora=corpora, train_clips=tmp_path / name
        ).verdict
        assert verdict.leak == "leaky"
        assert "shared_speakers" in {finding.kind for finding in verdict.findings}


def test_speakers_that_the_protocol_tests_again_are_no_leak(tmp_path):
    """The same CSV under the name of folds that test a speaker once is one."""
    rows = [("a", "1", 1, "calm"), ("b", "1", 2, "sad"), ("c", "2", 1, "calm")]
    source = write(tmp_path / "p.csv", RAVDESS, rows)
    again = "whether speakers are tested in several folds"
    for scheme, leak in (("text+speaker", ""), ("emobox6", "leaky")):
        protocol = f"ravdess-speech-8/{scheme}"
        verdict = import_predictions(source, "Mine", protocol, tmp_path).verdict
        assert verdict.leak == leak
        assert (again in verdict.checked) == bool(leak)
        assert (again in verdict.unchecked) == (not leak)


def test_evidence_holds_every_clip_once(corpora, tmp_path):
    source = predict(CROSS, corpora, tmp_path / "p.csv")
    import_predictions(source, "Mine", CROSS, tmp_path, corpora=corpora)
    (result,) = load_results(tmp_path)
    evidence = gather_evidence(result.about, None, corpora, None)
    ids = [clip.clip_id for clip in evidence.clips]
    assert len(ids) == len(set(ids)) == 24 * 8 + 3 * 5
    assert evidence.tested_corpus == "emodb"
