from dataclasses import dataclass, replace

import numpy as np
import pytest

from ssl_audio.audit import (
    Audit,
    audit_fold,
    audit_folds,
    format_report,
    has_leak,
    refuse_leaks,
)
from ssl_audio.audit.command import Request, audit
from ssl_audio.audit.remedies import REMEDIES
from ssl_audio.data.audio import measure
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip, write_manifest
from ssl_audio.data.prepared import write_corpus
from ssl_audio.data.splits import build_folds, random5_leaky
from ssl_audio.errors import DataError, UserError


def make_clip(speaker, number, **fields):
    name = f"{speaker}-{number}"
    return Clip(
        **{"clip_id": name, "path": f"{name}.wav", "speaker": speaker, "audio_sha256": name}
        | {"emotion": "ab"[number % 2], "num_samples": 1}
        | fields
    )


@pytest.fixture
def clips():
    return [make_clip(f"s{speaker}", number) for speaker in range(7) for number in range(10)]


@pytest.fixture
def fold(clips):
    """s0 to s3 train, s4 validates, s5 and s6 test."""
    ids = {f"s{s}": tuple(c.clip_id for c in clips if c.speaker == f"s{s}") for s in range(7)}
    train = ids["s0"] + ids["s1"] + ids["s2"] + ids["s3"]
    return Fold(1, train, ids["s4"], ids["s5"] + ids["s6"])


def summary(findings):
    return [(finding.kind, finding.severity) for finding in findings]


def test_a_clean_fold_has_no_findings(clips, fold):
    assert audit_fold(clips, fold) == []
    assert audit_folds(clips, [build_folds("some", clips)]) == []


MOVES = {
    ("train", "test"): "leak",
    ("test", "train"): "leak",
    ("validation", "test"): "leak",
    ("train", "validation"): "warning",
}


@pytest.mark.parametrize("move", MOVES)
def test_a_moved_clip_shares_its_speaker(clips, fold, move):
    source, target = move
    moved, *rest = getattr(fold, source)
    broken = replace(fold, **{source: tuple(rest), target: (*getattr(fold, target), moved)})
    (finding,) = audit_fold(clips, broken)
    assert (finding.kind, finding.severity) == ("shared_speakers", MOVES[move])
    (group,) = finding.groups
    assert moved in group and len(group) == 10
    assert moved.split("-")[0] in finding.evidence


SHARED_AUDIO = {
    ("s0-0", "s5-0"): "identical_audio",
    ("s4-0", "s5-0"): "identical_audio",
    ("s0-0", "s4-0"): "validation_in_training",
}


@pytest.mark.parametrize("move", MOVES)
def test_a_copied_name_is_the_same_audio(clips, fold, move):
    source, target = move
    copied = getattr(fold, source)[0]
    broken = replace(fold, **{target: (*getattr(fold, target), copied)})
    findings = {finding.kind: finding for finding in audit_fold(clips, broken)}
    kind = "validation_in_training" if set(move) == {"train", "validation"} else "identical_audio"
    assert set(findings) == {kind, "shared_speakers"}
    assert findings[kind].severity == "leak"
    assert findings[kind].groups == ((copied,),)


@pytest.mark.parametrize("pair", SHARED_AUDIO)
def test_the_same_audio_under_two_names_is_found(clips, fold, pair):
    copied = [replace(c, audio_sha256="x") if c.clip_id in pair else c for c in clips]
    (finding,) = audit_fold(copied, fold)
    assert (finding.kind, finding.severity) == (SHARED_AUDIO[pair], "leak")
    assert finding.groups == (pair,)


def test_clips_that_nobody_decoded_are_told_apart_by_name(clips, fold):
    unknown = [replace(clip, audio_sha256=None) for clip in clips]
    assert audit_fold(unknown, fold) == []
    again = replace(fold, test=(*fold.test, fold.train[0]))
    kinds = [finding.kind for finding in audit_fold(unknown, again)]
    assert kinds == ["shared_speakers", "identical_audio"]


def test_copies_on_one_side_are_a_note_on_the_corpus(clips, fold):
    same = {"audio_sha256": "x", "emotion": "a"}
    copied = [replace(c, **same) if c.speaker == "s0" else c for c in clips]
    folds = Folds("some-2/x", ("a", "b"), (fold,))
    (finding,) = audit_folds(copied, [folds])
    assert (finding.kind, finding.severity, finding.fold) == ("identical_audio", "note", None)
    assert len(finding.groups[0]) == 10
    assert not has_leak([finding])


def test_unknown_speakers_are_a_note(clips, fold):
    unknown = [replace(c, speaker=None) if c.speaker == "s5" else c for c in clips]
    (finding,) = audit_fold(unknown, fold)
    assert (finding.kind, finding.severity) == ("unknown_speakers", "note")
    assert "10 of 70 clips" in finding.evidence


def test_a_fold_of_another_corpus(clips, fold):
    with pytest.raises(DataError, match=r"names 10 clips that the corpus lacks, first s0-0"):
        audit_fold(clips[10:], fold)


def test_refuse_leaks(clips, fold):
    honest = Folds("some-2/x", ("a", "b"), (fold,))
    refuse_leaks(clips, honest, 1)
    leaky = random5_leaky("some", clips)
    refuse_leaks(clips, leaky, 3)
    renamed = replace(leaky, protocol="some-2/random5")
    with pytest.raises(UserError, match=r"some-2/random5 fold 3 leaks \(shared_speakers\)"):
        refuse_leaks(clips, renamed, 3)
    with pytest.raises(DataError, match="the folds 1, 2, 3, 4, 5; asked for 9"):
        refuse_leaks(clips, renamed, 9)


def test_refuse_leaks_passes_warnings(clips, fold):
    moved, *rest = fold.train
    broken = replace(fold, train=tuple(rest), validation=(*fold.validation, moved))
    severities = {finding.severity for finding in audit_fold(clips, broken, "some-2/x")}
    assert severities == {"warning"}
    refuse_leaks(clips, Folds("some-2/x", ("a", "b"), (broken,)), 1)


def test_validation_in_training_is_refused(clips, fold):
    broken = replace(fold, validation=(*fold.validation, fold.train[0]))
    with pytest.raises(DataError, match=r"fold 1 leaks \(validation_in_training\)"):
        refuse_leaks(clips, Folds("some-2/x", ("a", "b"), (broken,)), 1)


@dataclass(frozen=True)
class Pair:
    first: str
    second: str
    kind: str


@pytest.mark.parametrize("kind", ["near_identical_audio", "augmented_copies", "split_parent"])
def test_copies_found_in_audio_are_judged_by_where_they_are(clips, fold, kind):
    folds = Folds("some-2/x", ("a", "b"), (fold,))

    def judge(first, second):
        findings = audit_folds(clips, [folds], [Pair(first, second, kind)])
        return [(f.kind, f.severity, f.groups) for f in findings if f.kind != "conflicting_labels"]

    note = (kind, "note", (("s0-0", "s0-2"),))
    assert judge("s0-2", "s0-0") == [note]
    for first, second in (("s0-0", "s5-0"), ("s6-0", "s4-0")):
        pair = tuple(sorted((first, second)))
        assert judge(first, second) == [(kind, "note", (pair,)), (kind, "leak", (pair,))]
    pair = ("s0-0", "s4-0")
    assert judge(*pair)[1:] == [("validation_in_training", "leak", (pair,))]
    with pytest.raises(DataError, match=rf"leaks \({kind}\)"):
        refuse_leaks(clips, folds, 1, [Pair("s0-0", "s5-0", kind)])
    refuse_leaks(clips, folds, 1, [Pair("s0-0", "s0-1", kind)])


def test_what_may_be_neighbours_is_a_warning_across_parts_only(clips, fold):
    kind = "possible_split_parent"
    (finding,) = audit_fold(clips, fold, copies=[Pair("s0-0", "s5-0", kind)])
    assert (finding.kind, finding.severity) == ("split_parent", "warning")
    assert finding.groups == (("s0-0", "s5-0"),)
    folds = Folds("some-2/x", ("a", "b"), (fold,))
    assert audit_folds(clips, [folds], [Pair("s0-0", "s0-2", kind)]) == []


def test_copies_of_copies_are_one_group(clips, fold):
    pairs = [Pair("s0-0", "s5-0", "augmented_copies"), Pair("s0-0", "s6-0", "augmented_copies")]
    (finding,) = audit_fold(clips, fold, copies=pairs)
    assert finding.groups == (("s0-0", "s5-0", "s6-0"),)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ({"parent": "long"}, {"parent": "long"}),
        ({"clip_id": "long@000000.00"}, {"clip_id": "long@000012.50"}),
        ({"clip_id": "long"}, {"clip_id": "long@000030.00"}),
        ({"clip_id": "long"}, {"parent": "long"}),
    ],
)
def test_segments_of_one_recording_on_two_sides(clips, fold, train, test):
    first, second = replace(clips[0], **train), replace(clips[50], **test)
    changed = [first, *clips[1:50], second, *clips[51:]]
    broken = replace(
        fold, train=(first.clip_id, *fold.train[1:]), test=(second.clip_id, *fold.test[1:])
    )
    (finding,) = audit_fold(changed, broken)
    assert (finding.kind, finding.severity) == ("split_parent", "leak")
    assert finding.groups == (tuple(sorted((first.clip_id, second.clip_id))),)
    # Both on one side, or parents of their own: clean.
    assert audit_fold([first, *clips[1:]], replace(broken, test=fold.test)) == []
    assert audit_fold([*clips[:50], second, *clips[51:]], replace(broken, train=fold.train)) == []


def test_takes_with_numbers_are_no_segments(clips, fold):
    first, second = replace(clips[0], clip_id="take@0.1"), replace(clips[50], clip_id="take@0.2")
    changed = [first, *clips[1:50], second, *clips[51:]]
    same = replace(fold, train=("take@0.1", *fold.train[1:]), test=("take@0.2", *fold.test[1:]))
    assert audit_fold(changed, same) == []


def test_speakers_that_the_published_names_contradict(clips, fold):
    """The table gives every clip a speaker of its own; both are files of RAVDESS's actor 12."""
    names = ("03-01-05-02-01-01-12", "03-01-03-02-01-01-12")
    first, second = (
        replace(clip, path=f"{name}.wav", speaker=f"own {name}")
        for clip, name in zip((clips[0], clips[50]), names, strict=True)
    )
    (finding,) = audit_fold([first, *clips[1:50], second, *clips[51:]], fold)
    assert (finding.kind, finding.severity) == ("shared_speakers", "leak")
    assert finding.evidence.endswith("by the names of their files: RAVDESS 12")
    assert finding.groups == ((first.clip_id, second.clip_id),)


def test_a_speaker_for_every_clip_is_doubted(clips):
    own = [replace(clip, speaker=f"speaker of {clip.clip_id}") for clip in clips]
    (finding,) = audit_folds(own, [])
    assert (finding.kind, finding.severity) == ("unknown_speakers", "warning")
    assert "70 speakers are declared for 70 clips" in finding.evidence
    assert audit_folds(clips, []) == []


def test_conflicting_labels(clips, fold):
    same = [replace(c, audio_sha256="x") if c.clip_id in ("s0-0", "s0-1") else c for c in clips]
    findings = {finding.kind: finding for finding in audit_folds(same, [])}
    assert findings["conflicting_labels"].severity == "warning"
    assert findings["conflicting_labels"].groups == (("s0-0", "s0-1"),)
    assert "s0-0 is a but s0-1 is b" in findings["conflicting_labels"].evidence
    near = [Pair("s0-0", "s0-3", "near_identical_audio")]
    assert "conflicting_labels" in {finding.kind for finding in audit_folds(clips, [], near)}
    unlabelled = [replace(c, emotion=None) if c.clip_id == "s0-1" else c for c in same]
    agreeing = [Pair("s0-0", "s0-2", "near_identical_audio")]
    for innocent in (audit_folds(unlabelled, []), audit_folds(clips, [], agreeing)):
        assert "conflicting_labels" not in {finding.kind for finding in innocent}


def test_shared_text_is_a_note(clips, fold):
    said = {"s0-0": "Kids are talking.", "s5-0": "kids  are talking", "s5-1": "Dogs are sitting"}
    texts = [replace(clip, text=said.get(clip.clip_id)) for clip in clips]
    (finding,) = audit_fold(texts, fold)
    assert (finding.kind, finding.severity) == ("shared_text", "note")
    assert "1 of 2 texts" in finding.evidence and finding.groups == (("s0-0", "s5-0"),)
    said["s5-0"] = "something else"
    assert audit_fold([replace(c, text=said.get(c.clip_id)) for c in clips], fold) == []


def test_missing_classes_and_genders_are_notes(clips, fold):
    women = [replace(c, gender="male" if c.speaker in "s0 s5" else "female") for c in clips]
    (finding,) = audit_fold(women, fold)
    assert (finding.kind, finding.severity) == ("missing_class", "note")
    assert finding.evidence == "validation has no clips of male"
    without = replace(fold, test=tuple(name for name in fold.test if int(name[-1]) % 2))
    (finding,) = audit_fold(clips, without)
    assert finding.evidence == "test has no clips of a"
    tested = set(fold.test)
    unlabelled = [replace(c, emotion=None) if c.clip_id in tested else c for c in clips]
    assert audit_fold(unlabelled, fold) == []


def test_report_puts_the_worst_first_and_folds_together(clips):
    leaky = random5_leaky("some", clips)
    findings = (*audit_folds(clips, [leaky]),)
    lines = format_report(Audit(findings=findings, protocols=(leaky,), seconds=1.25)).splitlines()
    assert lines[0] == (
        "audit of some-2/random5-LEAKY (5 folds): 10 leaks, 5 warnings, no notes (1.2 s)"
    )
    assert lines[1].startswith("leak: shared_speakers: some-2/random5-LEAKY folds 1, 2, 3, 4, 5: ")
    assert lines[1].endswith(f" -> {REMEDIES['shared_speakers']}")
    assert len(lines) == 2


def test_report_tells_what_was_looked_at(clips):
    audited = Audit(findings=(), looked_at=("names", "hashes"), missed=("the audio",))
    assert format_report(audited).splitlines()[1:] == [
        "looked at: names; hashes",
        "could not be looked at: the audio",
    ]


@pytest.mark.real_data
def test_real_ravdess_holds_one_recording_twice(real_data, tmp_path):
    names = sorted((real_data / "ravdess" / "Actor_07").glob("03-01-03-*.flac"))
    listed = tmp_path / "some.csv"
    listed.write_text("\n".join(["path", *map(str, names)]))
    findings = audit(Request(source=listed)).findings
    (group,) = next(finding.groups for finding in findings if finding.kind == "identical_audio")
    assert [name[-20:] for name in group] == ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]


def test_what_a_manifest_says_of_its_audio_is_checked(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "folds").mkdir()
    audio = [(1000 * rng.standard_normal(4000)).astype(np.int16) for _ in range(3)]
    measured = [Clip(clip_id=f"c{n}", path="", **measure(a)) for n, a in enumerate(audio)]
    write_corpus(tmp_path, "noise", zip(measured, audio, strict=True))
    assert audit(Request(source=tmp_path)).findings == ()
    same = [replace(clip, audio_sha256=measured[0].audio_sha256) for clip in measured]
    write_manifest(same, tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="the audio of c1 is not what the manifest says"):
        audit(Request(source=tmp_path))
