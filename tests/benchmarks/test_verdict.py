"""What an imported row may be told to leak, and what it takes to say that it does not."""

import csv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.evidence import Evidence
from benchmarks.importing import import_predictions
from benchmarks.predictions_csv import read_csv
from benchmarks.results import load_results
from benchmarks.tables import build_tables
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.prepared import folds_path
from ssl_audio.errors import DataError

TONES = "tones-3/speakers3"
CLASSES = ("high", "low", "mid")
NAMELESS = "leak verdict: no leak found in what could be checked"


def predict(corpus, folds, path, drop_speakers=False):
    """A CSV of predictions for the test clips of some folds."""
    rng = np.random.default_rng(0)
    clips = {clip.clip_id: clip for clip in corpus.clips}
    rows = []
    for fold in folds.folds:
        for clip_id in fold.test:
            speaker = "" if drop_speakers else clips[clip_id].speaker
            rows.append((clip_id, speaker, fold.number, 0, clips[clip_id].emotion))
    frame = pd.DataFrame(rows, columns=["clip_id", "speaker", "fold", "seed", "label"])
    frame[list(CLASSES)] = rng.dirichlet(np.ones(3), len(frame))
    frame.to_csv(path, index=False)
    return path


def mixed(folds):
    """The same clips dealt to the folds in turn, whoever speaks."""
    ids = sorted(clip_id for fold in folds.folds for clip_id in fold.test)
    dealt = [tuple(ids[index::3]) for index in range(3)]
    return replace(
        folds,
        protocol="tones-3/mixed",
        folds=tuple(
            Fold(number, tuple(sorted({*ids} - {*test})), (), test)
            for number, test in enumerate(dealt, 1)
        ),
    )


def write_training(path, folds, extra=()):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["fold", "clip_id"])
        for fold in folds.folds:
            writer.writerows((fold.number, name) for name in (*fold.train, *fold.validation))
        writer.writerows(extra)
    return path


@pytest.fixture
def folds(tone_corpus) -> Folds:
    return tone_corpus.folds(TONES)


def test_without_evidence_it_says_what_was_not_checked(tone_corpus, folds, tmp_path):
    source = predict(tone_corpus, folds, tmp_path / "p.csv")
    verdict = import_predictions(source, "Mine", TONES, tmp_path).verdict
    assert verdict.leak == "" and verdict.findings == ()
    assert verdict.describe().splitlines() == [
        NAMELESS,
        "  checked: whether speakers are tested in several folds",
        "  not checked: training clips against test clips (give --train-clips); task and classes "
        "against the protocol's (give --folds); test clips against the protocol's, fold by fold "
        "(give --folds or --corpus); labels, speakers and copies of the audio against the corpus "
        "(give --corpus); how settings were chosen; what weights were pretrained on",
    ]


def test_speakers_in_several_test_folds_make_the_row_leaky(tone_corpus, folds, tmp_path):
    honest = predict(tone_corpus, folds, tmp_path / "honest.csv")
    import_predictions(honest, "Honest", "tones-3/mixed", tmp_path / "other")
    source = predict(tone_corpus, mixed(folds), tmp_path / "p.csv")
    verdict = import_predictions(source, "Mine", "tones-3/mixed", tmp_path).verdict
    assert verdict.leak == "leaky"
    (finding,) = verdict.findings
    assert finding.kind == "shared_speakers" and len(finding.groups) == 6
    assert "6 of 6 speakers are tested in several folds" in verdict.describe()
    markdown = build_tables(tmp_path)
    assert "## tones-3/mixed (single, 3 classes, leaky)" in markdown
    assert "imported: 6 of 6 speakers are tested in several folds" in markdown
    assert {result.about.leak for result in load_results(tmp_path)} == {"leaky"}


def test_one_test_set_under_several_folds_is_no_leak_but_counts_often(tone_corpus, folds, tmp_path):
    first = folds.folds[0]
    again = replace(folds, folds=(first, replace(first, number=2)))
    source = predict(tone_corpus, again, tmp_path / "p.csv")
    verdict = import_predictions(source, "Mine", "tones-3/other", tmp_path).verdict
    assert verdict.leak == ""
    assert [finding.kind for finding in verdict.findings] == ["repeated_clips"]
    assert "24 clips tested in several folds, each counted as often" in verdict.describe()


def test_folds_of_the_protocol_are_checked_clip_by_clip(tone_corpus, folds, tmp_path):
    source = predict(tone_corpus, folds, tmp_path / "p.csv")
    file = folds_path(tone_corpus.root, TONES)
    verdict = import_predictions(source, "Mine", TONES, tmp_path, folds=file).verdict
    assert "test clips against the protocol's, fold by fold" in verdict.checked
    assert verdict.leak == ""
    strange = predict(tone_corpus, mixed(folds), tmp_path / "strange.csv")
    with pytest.raises(DataError, match=rf"{TONES} tests it in fold 2: give what was done"):
        import_predictions(strange, "Strange", TONES, tmp_path, folds=file)
    with pytest.raises(DataError, match=rf"was tested by tones-3/y, the folds are {TONES}"):
        import_predictions(source, "Strange", "tones-3/y", tmp_path, folds=file)


def test_folds_that_leak_make_the_row_leaky(tone_corpus, folds, tmp_path):
    mixed(folds).save(tmp_path / "mixed.csv")
    source = predict(tone_corpus, mixed(folds), tmp_path / "p.csv")
    verdict = import_predictions(
        source, "Mine", "tones-3/mixed", tmp_path, folds=tmp_path / "mixed.csv"
    ).verdict
    assert verdict.leak == "leaky"
    assert {finding.kind for finding in verdict.findings} == {"shared_speakers"}


def test_a_corpus_brings_folds_labels_and_speakers(tone_corpus, folds, tmp_path):
    root = tone_corpus.root
    source = predict(tone_corpus, folds, tmp_path / "p.csv", drop_speakers=True)
    verdict = import_predictions(source, "Mine", TONES, tmp_path, corpora=[root]).verdict
    assert verdict.leak == ""
    assert not any("unknown" in name for name in verdict.unchecked)
    (result,) = load_results(tmp_path)
    assert result.speakers == [clip_id[0] for clip_id in result.frame["clip_id"]]
    source.write_text(source.read_text().replace(",0,high,", ",0,low,", 1))
    with pytest.raises(DataError, match="has the label 'low', by the corpus it is 'high'"):
        import_predictions(source, "Wrong", TONES, tmp_path / "r", corpora=[root])
    renamed = predict(tone_corpus, folds, tmp_path / "r.csv")
    renamed.write_text(renamed.read_text().replace("a-high-0,a,", "a-high-0,z,"))
    with pytest.raises(DataError, match="is of speaker 'z', in the corpus of 'a'"):
        import_predictions(renamed, "Wrong", TONES, tmp_path / "r", corpora=[root])


def test_training_clips_are_audited(tone_corpus, folds, tmp_path):
    source = predict(tone_corpus, folds, tmp_path / "p.csv")
    lists = write_training(tmp_path / "train.csv", folds)
    imported = import_predictions(source, "Clean", TONES, tmp_path, train_clips=lists)
    assert imported.verdict.leak == "" and imported.verdict.training_known
    assert imported.notes == ("(a) imported: its training clips were audited, no leak was found",)
    tested = folds.folds[0].test[0]
    lists = write_training(tmp_path / "train.csv", folds, extra=[(1, tested)])
    verdict = import_predictions(source, "Leaky", TONES, tmp_path, train_clips=lists).verdict
    assert verdict.leak == "leaky"
    assert {finding.kind for finding in verdict.findings} == {"identical_audio", "shared_speakers"}
    assert f"share 1 recording, 1 of them by the same name: {tested}" in verdict.describe()
    assert [result.about.leak for result in load_results(tmp_path)] == ["", "leaky"]


def test_real_training_clips_outweigh_what_is_usual(tone_corpus, folds, tmp_path):
    """Speakers tested in several folds are no leak where no fold trained on them."""
    part = mixed(folds)
    half = {clip_id for clip_id in part.clip_ids if clip_id[0] in "abc"}
    unseen = tuple(sorted({*part.clip_ids} - half))
    kept = tuple(
        Fold(fold.number, unseen, (), tuple(name for name in fold.test if name in half))
        for fold in part.folds
    )
    part = replace(part, folds=kept)
    source = predict(tone_corpus, part, tmp_path / "p.csv")
    usual = import_predictions(source, "Usual", part.protocol, tmp_path).verdict
    lists = write_training(tmp_path / "train.csv", part)
    known = import_predictions(source, "Known", part.protocol, tmp_path, train_clips=lists).verdict
    assert (usual.leak, known.leak) == ("leaky", "")


def test_copies_are_found_by_their_audio(tone_corpus, folds, tmp_path):
    """Training clips of another name with the audio of a test clip, in a manifest."""
    from ssl_audio.data.manifest import write_manifest

    first = folds.folds[0]
    (copied,) = (clip for clip in tone_corpus.clips if clip.clip_id == first.test[0])
    write_manifest([replace(copied, clip_id="copy", speaker=None)], tmp_path / "training.parquet")
    source = predict(tone_corpus, replace(folds, folds=(first,)), tmp_path / "p.csv")
    verdict = import_predictions(
        source,
        "Mine",
        TONES,
        tmp_path,
        corpora=[tone_corpus.root],
        train_clips=tmp_path / "training.parquet",
    ).verdict
    assert verdict.leak == "leaky"
    assert [finding.kind for finding in verdict.findings if finding.severity == "leak"] == [
        "identical_audio"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id\na\n", "expected the columns fold and clip_id"),
        ("fold,clip_id\n", "at least one row"),
        ("fold,clip_id\none,a\n", "expected numbers of folds from 1, got 'one'"),
        ("fold,clip_id\n1,a\n", "expected the training clips of fold 1, 2, 3, none are of fold 2"),
    ],
)
def test_lists_of_training_clips_are_read_strictly(text, message, tone_corpus, folds, tmp_path):
    source = predict(tone_corpus, folds, tmp_path / "p.csv")
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        import_predictions(source, "M", TONES, tmp_path, train_clips=tmp_path / "train.csv")
    assert not (tmp_path / "predictions").exists()


def test_a_protocol_that_leaks_by_name_is_said(tone_corpus, folds, tmp_path):
    source = predict(tone_corpus, folds, tmp_path / "p.csv")
    verdict = import_predictions(source, "Mine", "tones-3/random5-LEAKY", tmp_path).verdict
    assert verdict.leak == "leaky"
    assert "tones-3/random5-LEAKY leaks, as its name says" in verdict.describe()


def test_a_corpus_of_other_clips_is_refused(tone_corpus, folds, tmp_path):
    source = predict(tone_corpus, folds, tmp_path / "p.csv")
    source.write_text(source.read_text().replace("a-high-0", "elsewhere"))
    with pytest.raises(DataError, match=f"{TONES} tests it in none"):
        import_predictions(source, "M", TONES, tmp_path, corpora=[tone_corpus.root])
    with pytest.raises(DataError, match="clip elsewhere is not in the corpus"):
        import_predictions(source, "M", "tones-3/own", tmp_path, corpora=[tone_corpus.root])


def test_a_corpus_tells_genders_and_copies_of_the_test_clips(tone_corpus, folds, tmp_path):
    first, second = folds.folds[0].test[:2]
    audio = {clip.clip_id: clip.audio_sha256 for clip in tone_corpus.clips}
    clips = tuple(
        replace(clip, audio_sha256=audio[first]) if clip.clip_id in (first, second) else clip
        for clip in tone_corpus.clips
    )
    source = predict(tone_corpus, folds, tmp_path / "p.csv")
    predictions = Evidence(clips=clips).complete(read_csv(source, TONES))
    assert predictions.about.copies == ((first, second),)
    assert predictions.about.genders == {clip.speaker: clip.gender for clip in clips}
    assert predictions.about.genders["a"] == "female"
