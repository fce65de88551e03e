"""The command ``audit``: what it takes, what it prints, how it ends."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest
import soundfile as sf
from typer.testing import CliRunner

from ssl_audio import cli
from ssl_audio.__main__ import app
from ssl_audio.audit.command import Request, audit
from ssl_audio.data.manifest import Clip, write_manifest
from ssl_audio.data.splits import build_folds, random5_leaky
from ssl_audio.errors import UserError


def make_clip(speaker, number, **fields):
    """Its name tells nothing of its label."""
    name = f"{speaker}/take-{speaker}-{number}"
    emotion = "ab"[crc32(name.encode()) % 2]
    return Clip(
        **{"clip_id": name, "path": f"{name}.wav", "speaker": speaker, "audio_sha256": name}
        | {"emotion": emotion, "num_samples": 1}
        | fields
    )


@pytest.fixture
def clips():
    return [make_clip(f"s{speaker}", number) for speaker in range(7) for number in range(10)]


@pytest.fixture
def root(tmp_path, clips):
    """What the audit reads of a prepared corpus, without audio."""
    folder = tmp_path / "corpus"
    (folder / "folds").mkdir(parents=True)
    write_manifest(clips, folder / "manifest.parquet")
    build_folds("some", clips).save(folder / "folds" / "speakers6.csv")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def kinds(audited, severity="leak"):
    return {finding.kind for finding in audited.findings if finding.severity == severity}


def write_rows(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(
            [header, *rows]
        )
    return path


def test_exits_0_without_a_leak(root):
    for source in (root, root / "manifest.parquet"):
        result = run(source)
        assert result.exit_code == 0, result.output
        first, second, third = result.output.splitlines()
        assert third == (
            "could not be looked at: copies in other samples: the manifest brings no audio; whose "
            "voices they are: speakers are believed as declared"
        )
        assert first.startswith(
            "audit of some-2/speakers6 (6 folds): no leaks, no warnings, no notes ("
        )
        assert second == (
            "looked at: names and labels of 70 clips; the declared hashes of audio of 70; what "
            "format, length and name tell of the label"
        )


def test_exits_1_on_a_leak_and_writes_json(root, clips):
    leaky, report = root / "leaky.csv", root / "report.json"
    random5_leaky("some", clips).save(leaky)
    result = run(root, "--folds", leaky, "--json", report)
    assert result.exit_code == 1
    assert "audit of some-2/random5-LEAKY (5 folds): 10 leaks" in result.output
    content = json.loads(report.read_text())
    assert set(content) == {"findings"} and len(content["findings"]) == 15
    assert set(content["findings"][0]) == {
        *("kind", "severity", "protocol", "fold", "evidence", "groups")
    }
    assert all(len(group) > 1 for group in content["findings"][0]["groups"])


def test_the_corpus_own_split_is_audited_too(root, clips):
    for names, leaks in (({"s0": "Train", "s1": "test"}, set()), ({}, set())):
        own = [replace(clip, split=names.get(clip.speaker)) for clip in clips]
        write_manifest(own, root / "manifest.parquet")
        assert kinds(audit(Request(source=root))) == leaks
    mixed = [replace(clip, split="train" if n % 3 else "dev") for n, clip in enumerate(clips)]
    mixed[0] = replace(mixed[0], split="test")
    write_manifest(mixed, root / "manifest.parquet")
    audited = audit(Request(source=root))
    assert [folds.protocol for folds in audited.protocols][1:] == ["the corpus's own split"]
    assert kinds(audited) == kinds(audited, "warning") == {"shared_speakers"}
    channels = [replace(clip, split="speech" if n % 2 else "song") for n, clip in enumerate(clips)]
    write_manifest(channels, root / "manifest.parquet")
    assert len(audit(Request(source=root)).protocols) == 1


NAMED = {
    "clip_id": lambda clip: clip.clip_id,
    "path": lambda clip: clip.path,
    "bare name": lambda clip: Path(clip.path).name,
    "absolute": lambda clip: f"/home/someone/data/{clip.path}",
    "windows": lambda clip: f"data\\{clip.path}".replace("/", "\\"),
    "other ending": lambda clip: clip.path.replace(".wav", ".flac"),
}


@pytest.mark.parametrize("way", NAMED)
def test_lists_of_others(root, clips, tmp_path, way):
    def write(part, speakers):
        path = tmp_path / f"{part}.txt"
        path.write_text("\n".join(NAMED[way](c) for c in clips if c.speaker in speakers) + "\n")
        return path

    train, test = write("train", "s0 s1 s2"), write("test", "s5 s6")
    clean = audit(Request(source=root, train=train, test=test))
    assert kinds(clean) == set()
    (folds,) = clean.protocols
    assert [len(getattr(folds.folds[0], part)) for part in ("train", "test")] == [30, 20]
    leaky = audit(Request(source=root, train=train, validation=write("val", "s3"), test=train))
    assert kinds(leaky) == {"shared_speakers", "identical_audio"}
    result = run(root, "--train", train, "--test", train)
    assert result.exit_code == 1 and "the given lists fold 1" in result.output


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_lists_as_tables(root, clips, tmp_path, ending):
    import pandas as pd

    def write(part, speakers, column):
        rows = [Path(clip.path).name for clip in clips if clip.speaker in speakers]
        path = tmp_path / f"{part}{ending}"
        table = pd.DataFrame({"n": range(len(rows)), column: rows})
        if ending == ".parquet":
            table.to_parquet(path)
        elif ending == ".jsonl":
            table.to_json(path, orient="records", lines=True)
        else:
            table.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
        return path

    usual = write("train", "s0 s1", "Filename"), write("test", "s5", "path")
    assert kinds(audit(Request(source=root, train=usual[0], test=usual[1]))) == set()
    odd = write("odd", "s1", "aufnahme")
    request = Request(source=root, train=usual[0], test=odd, columns={"path": "aufnahme"})
    assert "shared_speakers" in kinds(audit(request))


def test_tables_of_folds_of_others(root, clips, tmp_path):
    """Without parts fold k tests its own rows and trains on the others; with them, as they say."""
    by_speaker = [(c.path, int(c.speaker[1]) % 3) for c in clips]
    table = write_rows(tmp_path / "f.csv", ("filename", "fold"), by_speaker)
    audited = audit(Request(source=root, folds=table))
    (folds,) = audited.protocols
    assert [fold.number for fold in folds.folds] == [0, 1, 2] and kinds(audited) == set()
    assert [len(fold.test) for fold in folds.folds] == [30, 20, 20]
    assert all(len(fold.train) + len(fold.test) == 70 for fold in folds.folds)
    mixed = [(c.path, "abc"[n % 3]) for n, c in enumerate(clips)]
    table = write_rows(tmp_path / "m.tsv", ("filename", "cv"), mixed)
    audited = audit(Request(source=root, folds=table, columns={"fold": "cv"}))
    assert kinds(audited) == {"shared_speakers"}
    assert [fold.number for fold in audited.protocols[0].folds] == [1, 2, 3]
    parts = [(c.path, "dev" if c.speaker == "s0" else "training") for c in clips]
    parts += [(c.path, "") for c in clips]
    table = write_rows(tmp_path / "p.csv", ("path", "subset"), parts)
    (folds,) = audit(Request(source=root, folds=table)).protocols
    assert [len(folds.folds[0].train), len(folds.folds[0].validation)] == [60, 10]


def test_pretraining_pool(root, clips, tmp_path):
    pool = tmp_path / "pool.parquet"
    seen = [replace(clip, clip_id=f"x/{clip.clip_id}") for clip in clips[:5]]
    write_manifest(seen, pool)
    audited = audit(Request(source=root, pretraining=pool))
    findings = [finding for finding in audited.findings if finding.kind == "pretraining_pool"]
    assert {finding.severity for finding in findings} == {"note"}
    assert {group for finding in findings for group in finding.groups} == {
        (clip.clip_id, f"x/{clip.clip_id}") for clip in clips[:5]
    }
    write_manifest([make_clip("other", 0)], pool)
    assert audit(Request(source=root, pretraining=pool)).findings == ()
    (root / "folds" / "speakers6.csv").unlink()
    (finding,) = audit(Request(source=root, pretraining=root)).findings
    assert len(finding.groups) == 70 and finding.fold is None


def test_the_pool_of_a_run(root, clips, tmp_path):
    encoder, tuned = tmp_path / "encoder", tmp_path / "tuned"
    for folder, config in ((encoder, {}), (tuned, {"encoder": str(encoder)})):
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"config": config}))
    write_manifest(clips[:5], encoder / "pretraining.parquet")
    for folder in (encoder, tuned):
        findings = audit(Request(source=root, run=folder)).findings
        assert {finding.kind for finding in findings} == {"pretraining_pool"}
    (encoder / "pretraining.parquet").unlink()
    audited = audit(Request(source=root, run=tuned))
    assert audited.findings == () and any("was pretrained on" in told for told in audited.missed)
    (tuned / "run.json").write_text(json.dumps({"config": {"encoder": None}}))
    audited = audit(Request(source=root, run=tuned))
    assert audited.findings == () and "what pretraining saw (no clips)" in audited.looked_at


@pytest.fixture
def someones(tmp_path, write_noise):
    """Somebody's table of audio files: three speakers, two classes, one file in two formats."""
    rows = []
    for speaker in "abc":
        for number in range(4):
            name = f"{speaker}{number}.wav"
            write_noise(tmp_path / "audio" / name, seed=f"{speaker}{number}")
            rows.append((f"audio/{name}", speaker, ("happy", "sad")[number % 2]))
    samples, rate = sf.read(tmp_path / "audio" / "a0.wav", dtype="int16")
    sf.write(tmp_path / "audio" / "a0.flac", samples, rate)
    rows.append(("audio/a0.flac", "c", "happy"))
    return write_rows(tmp_path / "table.csv", ("wav", "who", "label"), rows)


MAPPED = ("--map", "path=wav", "--map", "speaker=who")


def test_a_table_of_audio_files_is_decoded(someones, tmp_path):
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("".join(f"a{n}.wav\nb{n}.wav\n" for n in range(4)))
    test.write_text("".join(f"c{n}.wav\n" for n in range(4)))
    result = run(someones, *MAPPED, "--train", train, "--test", test)
    assert result.exit_code == 0, result.output
    assert "the hashed audio of 13" in result.output
    test.write_text(test.read_text() + "a0.flac\n")
    result = run(someones, *MAPPED, "--train", train, "--test", test)
    assert result.exit_code == 1
    assert "leak: identical_audio" in result.output and "shared_speakers" not in result.output


def test_a_folder_of_audio_is_decoded(someones, tmp_path):
    result = run(tmp_path / "audio")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("audit of the corpus; it has no folds: no leaks")
    assert "note: identical_audio: the corpus holds 1 recording more than once" in result.output


def test_a_folder_of_audio_that_pretraining_saw(someones, tmp_path, write_noise):
    """Decoded on the way: an equal recording is found under any name."""
    pool = tmp_path / "pool"
    write_noise(pool / "deep" / "other.flac", seed="nobody")
    write_noise(pool / "same.wav", seed="b1")
    (pool / "text.wav").write_text("this is no audio")
    result = run(someones, *MAPPED, "--pretraining", pool, "--json", tmp_path / "report.json")
    assert result.exit_code == 0, result.output
    assert f"1 file of {pool}, set aside as unusable" in result.output
    findings = json.loads((tmp_path / "report.json").read_text())["findings"]
    (found,) = [finding for finding in findings if finding["kind"] == "pretraining_pool"]
    assert found["groups"] == [["audio/b1", "same"]]


def test_files_that_cannot_be_read_are_told(someones, tmp_path):
    (tmp_path / "audio" / "c3.wav").write_text("this is no audio")
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("a1.wav\nb1.wav")
    test.write_text("c1.wav\nc3.wav")
    result = run(someones, *MAPPED, "--train", train, "--test", test)
    assert result.exit_code == 0, result.output
    (told,) = (line for line in result.output.splitlines() if line.startswith("could not be"))
    assert "1 clip of the split that can't be read; " in told and "; 1 file set aside" in told


MISTAKES = {
    "nowhere": (("nowhere",), "expected a prepared corpus or a manifest"),
    "no corpus": (("corpus/folds/speakers6.csv",), "expected a column path"),
    "not a table": (("lines.txt",), "got another file"),
    "other parquet": (("rows.parquet",), "rows.parquet"),
    "broken parquet": (("broken.parquet",), "can't be read"),
    "no folds": (
        ("corpus", "--folds", "nowhere.csv"),
        "--folds nowhere.csv: no such file or folder",
    ),
    "folds without columns": (("corpus", "--folds", "rows.csv"), "expected a column clip_id or"),
    "folds without folds": (
        ("corpus", "--folds", "list.csv"),
        "expected a table with a column fold",
    ),
    "folds of others": (("corpus", "--folds", "strange.csv"), "2 of 2 names match no clip"),
    "odd parts": (("corpus", "--folds", "parts.csv"), "expected parts train, validation and test"),
    "one fold": (("corpus", "--folds", "one.csv"), "needs at least 2 folds, got 1"),
    "one list": (("corpus", "--train", "list.csv"), "--train alone can't leak"),
    "empty list": (("corpus", "--train", "empty.txt", "--test", "list.csv"), "one clip a line"),
    "unmatched": (("corpus", "--train", "lines.txt", "--test", "list.csv"), "1 of 2 names match"),
    "both": (("corpus", "--folds", "one.csv", "--test", "list.csv"), "give one or the other"),
    "no run": (("corpus", "--run", "nowhere"), "--run nowhere: no such file or folder"),
    "odd run": (("corpus", "--run", "corpus"), "holds no finished run"),
    "no pool": (("corpus", "--pretraining", "nowhere"), "--pretraining nowhere: no such file"),
    "odd pool": (("corpus", "--pretraining", "rows.csv"), "rows.csv: expected a column path"),
    "pool of nothing": (("corpus", "--pretraining", "corpus/folds"), "corpus/folds"),
    "unknown field": (("corpus", "--map", "mood=x"), "--map mood=x: audit reads clip_id, "),
    "no such column": (
        ("corpus", "--folds", "one.csv", "--map", "fold=Nope"),
        "--map fold=Nope: no table has this column, got clip_id, fold",
    ),
    "one part": (("corpus", "--folds", "train_only.csv"), "fold 1 has clips in one part only"),
    "another folder": (
        ("corpus", "--train", "elsewhere.txt", "--test", "list.csv"),
        "1 of 2 names match no clip, or several as well, first 's3/take-s0-0'",
    ),
    "no features": (("corpus", "--features", "nowhere"), "--features nowhere: no such file"),
}


@pytest.fixture
def mistaken(root, tmp_path, monkeypatch):
    """A working folder with one file for every mistake."""
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("s0/take-s0-0\nwrong\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "broken.parquet").write_text("PAR1 and nothing else")
    pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "rows.parquet")
    write_rows(tmp_path / "rows.csv", ("x",), [(1,)])
    write_rows(tmp_path / "list.csv", ("clip_id",), [("take-s1-0",)])
    write_rows(tmp_path / "strange.csv", ("clip_id", "fold"), [("x", 1), ("y", 2)])
    write_rows(tmp_path / "parts.csv", ("clip_id", "part"), [("take-s1-0", "speech")])
    (tmp_path / "elsewhere.txt").write_text("s0/take-s0-1\ns3/take-s0-0\n")
    write_rows(tmp_path / "train_only.csv", ("clip_id", "part"), [("take-s1-0", "train")])
    write_rows(tmp_path / "one.csv", ("clip_id", "fold"), [("take-s1-0", 1)])
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(mistaken, name):
    arguments, message = MISTAKES[name]
    error = run(*arguments).exception
    assert isinstance(error, UserError), repr(error)
    assert message in str(error)


@pytest.mark.parametrize("arguments", [(), ("corpus", "--folds", "one.csv")])
def test_a_mistake_is_one_line_and_exit_2(mistaken, monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["ssl_audio", "audit", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.run(app, "ssl_audio")
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
