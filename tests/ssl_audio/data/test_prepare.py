import csv
import hashlib
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from ssl_audio.__main__ import app
from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.folds import Folds
from ssl_audio.data.prepare import describe, parse_columns, prepare
from ssl_audio.data.prepared import PreparedCorpus, folds_path
from ssl_audio.errors import DataError, UserError
from tests.ssl_audio.launching import run_command


@pytest.fixture
def ravdess(tmp_path, write_noise, ravdess_names):
    """All 24 actors, one clip of each emotion."""
    root = tmp_path / "ravdess"
    for name in ravdess_names(range(1, 25)):
        write_noise(root / f"Actor_{name[-2:]}" / f"{name}.wav")
    return root


@pytest.fixture
def classes(tmp_path, write_noise):
    """Two classes of six files, a text file named .wav, and a copy."""
    root = tmp_path / "classes"
    for emotion in ("happy", "sad"):
        for number in range(6):
            write_noise(root / emotion / f"{number}.wav", seed=f"{emotion}{number}")
    (root / "sad" / "text.wav").write_text("this is no audio\n" * 20)
    write_noise(root / "sad" / "copy.wav", seed="sad0")
    return root


def hidden_leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_ravdess_is_prepared_whole(ravdess, tmp_path):
    preparation = prepare("ravdess", ravdess, tmp_path / "out")
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [
            *("corpus.html", "corpus.json", "data-00000.arrow", "data-00001.arrow"),
            *("dataset_info.json", "folds", "manifest.parquet", "quarantine.csv", "state.json"),
        ]
    )
    corpus = PreparedCorpus.load(out)
    ids = [clip.clip_id for clip in corpus.clips]
    assert ids == sorted(ids) and len(ids) == 192
    for clip, samples in zip(corpus.clips, corpus.views, strict=True):
        original, _ = sf.read(ravdess / clip.path, dtype="int16")
        np.testing.assert_array_equal(samples, original)
        assert clip.audio_sha256 == hashlib.sha256(original.tobytes()).hexdigest()
        assert clip.num_samples == len(original)
        assert (clip.source_sample_rate, clip.source_format) == (16_000, "WAV/PCM_16")
        assert clip.source_bytes == (ravdess / clip.path).stat().st_size
    folds = Folds.load(folds_path(out, "ravdess-speech-8/emobox6"))
    assert preparation.folds == (folds,)
    assert sum(len(fold.test) for fold in folds.folds) == 192
    assert hidden_leftovers(tmp_path) == []


def test_equal_sources_give_equal_bytes(ravdess, tmp_path):
    for name in ("a", "b"):
        prepare("ravdess", ravdess, tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(files) == 9
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_zip_and_folder_give_the_same_fingerprint(ravdess, tmp_path):
    archive = tmp_path / "Audio_Speech_Actors_01-24.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in ravdess.rglob("*.wav"):
            file.write(path, path.relative_to(ravdess).as_posix())
    from_zip = prepare("ravdess", archive, tmp_path / "a")
    from_folder = prepare("ravdess", ravdess, tmp_path / "b")
    assert from_zip.corpus.fingerprint == from_folder.corpus.fingerprint
    assert from_zip.folds == from_folder.folds


def test_what_is_set_aside_is_reported(classes, tmp_path):
    preparation = prepare("folder", classes, tmp_path / "out")
    assert len(preparation.corpus) == 13
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["sad/text.wav"]
    assert rows[0]["reason"] == "can't be decoded as audio: Format not recognised."
    (folds,) = preparation.folds
    assert folds.protocol == "folder-2/dedup5"
    text = describe(preparation)
    assert "13 clips" in text and "unknown speakers" in text and "classes: happy 6, sad 7" in text
    assert "set aside: 1\n  sad/text.wav: can't be decoded" in text


def test_a_tree_that_holds_every_file_twice(tmp_path, write_noise, ravdess_names):
    names = ravdess_names([1])
    for name in names:
        write_noise(tmp_path / "in" / "Actor_01" / f"{name}.wav")
        seed = "other" if name == names[2] else name
        write_noise(tmp_path / "in" / "again" / "Actor_01" / f"{name}.wav", seed=seed)
    preparation = prepare("ravdess", tmp_path / "in", tmp_path / "out")
    assert [clip.path for clip in preparation.corpus.clips] == [
        f"Actor_01/{name}.wav" for name in names
    ]
    reasons = {item.path: item.reason for item in preparation.quarantined}
    assert list(reasons) == [f"again/Actor_01/{name}.wav" for name in names]
    for name in names:
        kind = "OTHER AUDIO" if name == names[2] else "same audio"
        assert reasons[f"again/Actor_01/{name}.wav"] == (
            f"second file of clip {name}: Actor_01/{name}.wav is kept ({kind})"
        )


def test_a_row_twice_with_two_labels(tmp_path, write_noise):
    write_noise(tmp_path / "a.wav")
    table = tmp_path / "t.csv"
    table.write_text("path,emotion\na.wav,sad\na.wav,happy\n")
    preparation = prepare("csv", table, tmp_path / "out")
    assert [clip.emotion for clip in preparation.corpus.clips] == ["sad"]
    assert "labelled happy here, labelled sad there" in preparation.quarantined[0].reason


def test_the_next_file_takes_the_place_of_an_unreadable_one(tmp_path, write_noise):
    write_noise(tmp_path / "in" / "sad" / "a.wav")
    (tmp_path / "in" / "sad" / "a.flac").write_bytes(b"")
    preparation = prepare("folder", tmp_path / "in", tmp_path / "out")
    assert [clip.path for clip in preparation.corpus.clips] == ["sad/a.wav"]
    assert [item.reason for item in preparation.quarantined] == ["empty file (0 bytes)"]


def test_unlabelled_audio_is_prepared_without_folds(tmp_path, write_noise):
    for number in range(3):
        write_noise(tmp_path / "in" / f"{number}.wav")
    preparation = prepare("folder", tmp_path / "in", tmp_path / "out")
    assert preparation.folds == ()
    assert preparation.notes == ("no folds: no clip has a label",)
    assert len(PreparedCorpus.load(tmp_path / "out")) == 3


def test_names_that_are_not_utf_8(tmp_path, write_noise):
    write_noise(tmp_path / "in" / "good.wav")
    odd = tmp_path / "in" / "b\udce4d.wav"
    try:
        odd.write_bytes((tmp_path / "in" / "good.wav").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    preparation = prepare("folder", tmp_path / "in", tmp_path / "out")
    assert len(preparation.corpus) == 1
    (item,) = preparation.quarantined
    assert item.path == "b\\udce4d.wav" and "not UTF-8" in item.reason
    describe(preparation).encode()


def test_an_older_preparation_is_replaced_and_stays_open(classes, tmp_path, write_noise):
    out = tmp_path / "out"
    old = prepare("folder", classes, out).corpus
    first = old.views[0].copy()
    write_noise(classes / "happy" / "0.wav", seed="new")
    new = prepare("folder", classes, out).corpus
    assert new.fingerprint != old.fingerprint
    np.testing.assert_array_equal(old.views[0], first)
    assert hidden_leftovers(tmp_path) == []


def test_a_failure_leaves_the_older_preparation_alone(classes, tmp_path, monkeypatch):
    out = tmp_path / "out"
    before = prepare("folder", classes, out).corpus.fingerprint

    def run_out_of_space(*_):
        raise OSError("no space left")

    monkeypatch.setattr("ssl_audio.data.prepare._write_quarantine", run_out_of_space)
    with pytest.raises(OSError, match="no space left"):
        prepare("folder", classes, out)
    assert PreparedCorpus.load(out).fingerprint == before
    assert hidden_leftovers(tmp_path) == [".out.partial"]
    monkeypatch.undo()
    preparation = prepare("folder", classes, out)
    assert preparation.num_taken_over == 14 and preparation.corpus.fingerprint == before
    assert "taken over from an interrupted run: 14 recordings" in describe(preparation)
    assert hidden_leftovers(tmp_path) == []


def test_foreign_output_is_refused(classes, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(UserError, match="exists and is not a prepared corpus"):
        prepare("folder", classes, tmp_path / "thesis")
    with pytest.raises(UserError, match="exists and is not a prepared corpus"):
        prepare("folder", classes, tmp_path / "thesis" / "chapter.txt")
    (tmp_path / "empty").mkdir()
    assert len(prepare("folder", classes, tmp_path / "empty").corpus) == 13


def test_strict(classes, ravdess, tmp_path):
    with pytest.raises(
        DataError, match=r"--strict: 1 of .* to be set aside, first sad/text.wav: can't be decoded"
    ):
        prepare("folder", classes, tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()
    assert len(prepare("ravdess", ravdess, tmp_path / "out", strict=True).corpus) == 192


def test_parse_columns():
    assert parse_columns(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    for wrong in ("a", "=b", "a=", ""):
        with pytest.raises(UserError, match="expected field=COLUMN"):
            parse_columns([wrong])


def invoke(*arguments):
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_command_with_map(tmp_path, write_noise):
    for number in range(12):
        write_noise(tmp_path / f"{number}.wav")
    rows = [f"{number}.wav,{'ab'[number % 2]},s{number // 2}" for number in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["filename,mood,who", *rows]) + "\n")
    maps = ("--map", "emotion=mood", "--map", "speaker=who")
    result = invoke("csv", tmp_path / "t.csv", "--output", tmp_path / "out", *maps)
    assert result.exit_code == 0, result.output
    assert "12 clips" in result.output and "6 speakers" in result.output
    assert "folds: csv-2/speakers6, 6 folds of 12 clips" in result.output


def test_command_help_names_every_corpus():
    text = " ".join(invoke("--help").output.split())
    assert all(name in text for name in CORPORA)


MISTAKES = {
    "unknown corpus": (
        ("iemocap", "."),
        "unknown corpus 'iemocap': choose one of ravdess, ",
    ),
    "no source": (("ravdess",), "needs a SOURCE"),
    "wrong path": (("ravdess", "nowhere"), "nowhere: no such file or folder"),
    "empty folder": (("ravdess", "empty"), "empty: expected audio files, it has none"),
    "empty class tree": (("folder", "empty"), "empty: expected audio files, it has none"),
    "text": (("ravdess", "text"), "text: expected audio files, none of 1 can be used, first x.wav"),
    "text in class": (("folder", "text"), "none of 1 can be used, first x.wav: can't be decoded"),
    "a picture": (("ravdess", "a.png"), "expected a folder, a .zip as published or a .txt"),
    "not a zip": (("ravdess", "a.zip"), "expected a zip archive"),
    "map": (("ravdess", "text", "--map", "emotion=x"), "corpus ravdess reads no columns"),
    "map field": (("csv", "text", "--map", "mood=x"), "corpus csv reads path, emotion"),
    "map form": (("csv", "text", "--map", "mood"), "expected field=COLUMN"),
    "source of synthetic": (("synthetic", "text"), "leave SOURCE text out"),
}


@pytest.fixture
def mistakes_folder(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "x.wav").write_text("hello " * 99)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "a.zip").write_bytes(b"PK")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name, mistakes_folder):
    arguments, message = MISTAKES[name]
    error = invoke(*arguments, "--output", "out").exception
    assert isinstance(error, UserError) and message in str(error)
    assert "\n" not in str(error)
    assert not Path("out").exists() and hidden_leftovers(mistakes_folder) == []


@pytest.mark.parametrize("name", ["wrong path", "empty folder", "text"])
def test_mistakes_end_with_one_line_and_exit_code_2(name, mistakes_folder):
    arguments, message = MISTAKES[name]
    result = run_command("ssl_audio", "prepare", *arguments, "--output", "out")
    assert result.returncode == 2 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and message in line


def test_preparing_and_auditing_import_nothing_heavy():
    code = (
        "import sys, ssl_audio.data.prepare, ssl_audio.data.page, ssl_audio.audit; "
        "print(*{'torch', 'torchaudio', 'datasets', 'transformers', 'librosa'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.real_data
def test_all_of_ravdess_in_six_processor_seconds(real_data, tmp_path):
    start = time.process_time()  # of all threads: unlike wall time, no matter what else runs
    preparation = prepare("ravdess", real_data / "ravdess", tmp_path / "out", strict=True)
    processor_seconds = time.process_time() - start
    assert len(preparation.corpus) == 1440
    (folds,) = preparation.folds
    assert folds.protocol == "ravdess-speech-8/emobox6"
    assert [len(fold.test) for fold in folds.folds] == [240] * 6
    assert processor_seconds < 6
