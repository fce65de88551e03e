import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from ssl_audio.__main__ import app
from ssl_audio.audit import (
    audit_fold,
    audit_folds,
    audit_prepared,
    format_report,
    has_leak,
    refuse_leaks,
)
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip, write_manifest
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


@pytest.mark.parametrize("move", MOVES)
def test_a_copied_name_is_found(clips, fold, move):
    source, target = move
    copied = getattr(fold, source)[0]
    broken = replace(fold, **{target: (*getattr(fold, target), copied)})
    findings = {finding.kind: finding for finding in audit_fold(clips, broken)}
    assert findings["same_clip"].severity == MOVES[move]
    assert findings["same_clip"].groups == ((copied,),)
    assert "identical_audio" not in findings


@pytest.mark.parametrize(
    ("first", "second", "severity"),
    [("s0-0", "s5-0", "leak"), ("s4-0", "s5-0", "leak"), ("s0-0", "s4-0", "warning")],
)
def test_the_same_audio_under_two_names_is_found(clips, fold, first, second, severity):
    copied = [replace(c, audio_sha256="x") if c.clip_id in (first, second) else c for c in clips]
    (finding,) = audit_fold(copied, fold)
    assert (finding.kind, finding.severity) == ("identical_audio", severity)
    assert finding.groups == ((first, second),)


def test_copies_on_one_side_are_a_note_on_the_corpus(clips, fold):
    copied = [replace(c, audio_sha256="x") if c.speaker == "s0" else c for c in clips]
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
    with pytest.raises(DataError, match="folds 1 to 5, asked for 9"):
        refuse_leaks(clips, renamed, 9)


def test_refuse_leaks_passes_warnings(clips, fold):
    moved, *rest = fold.train
    broken = replace(fold, train=tuple(rest), validation=(*fold.validation, moved))
    severities = {finding.severity for finding in audit_fold(clips, broken, "some-2/x")}
    assert severities == {"warning"}
    refuse_leaks(clips, Folds("some-2/x", ("a", "b"), (broken,)), 1)


def test_report_puts_the_worst_first_and_folds_together(clips):
    leaky = random5_leaky("some", clips)
    lines = format_report(audit_folds(clips, [leaky]), [leaky]).splitlines()
    assert lines[0] == "audit of some-2/random5-LEAKY (5 folds): 10 leaks, 5 warnings, no notes"
    assert lines[1].startswith("leak: shared_speakers: some-2/random5-LEAKY folds 1, 2, 3, 4, 5: ")
    assert lines[2].startswith("warning: ")
    assert len(lines) == 3


@pytest.fixture
def prepared(tmp_path, clips):
    """What the audit reads of a prepared corpus."""
    (tmp_path / "folds").mkdir()
    write_manifest(clips, tmp_path / "manifest.parquet")
    build_folds("some", clips).save(tmp_path / "folds" / "speakers6.csv")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_command_exits_0_without_a_leak(prepared):
    for source in (prepared, prepared / "manifest.parquet"):
        result = run(source)
        assert result.exit_code == 0
        assert result.output == (
            "audit of some-2/speakers6 (6 folds): no leaks, no warnings, no notes\n"
        )


def test_command_exits_1_on_a_leak_and_writes_json(prepared, clips):
    leaky, report = prepared / "leaky.csv", prepared / "report.json"
    random5_leaky("some", clips).save(leaky)
    result = run(prepared, "--folds", leaky, "--json", report)
    assert result.exit_code == 1
    assert "leak: shared_speakers" in result.output
    findings = json.loads(report.read_text())
    assert len(findings) == 15
    assert set(findings[0]) == {"kind", "severity", "protocol", "fold", "evidence", "groups"}


def test_command_mistakes(prepared, tmp_path):
    for arguments, message in [
        ((tmp_path / "nowhere",), "expected a prepared corpus or a manifest"),
        ((prepared / "folds",), "expected a prepared corpus or a manifest"),
        ((prepared, "--folds", tmp_path / "nowhere.csv"), "can't be read"),
    ]:
        error = run(*arguments).exception
        assert isinstance(error, UserError) and message in str(error)


@pytest.mark.real_data
def test_real_ravdess_holds_one_recording_twice(real_data, tmp_path):
    from ssl_audio.data.prepare import prepare

    names = sorted((real_data / "ravdess" / "Actor_07").glob("03-01-03-*.flac"))
    (tmp_path / "some.txt").write_text("\n".join(map(str, names)))
    prepare("ravdess", tmp_path / "some.txt", tmp_path / "prepared")
    (finding,), protocols = audit_prepared(tmp_path / "prepared")
    assert finding.groups == (("03-01-03-01-02-01-07", "03-01-03-01-02-02-07"),)
    assert protocols == []
