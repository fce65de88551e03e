"""What people's folders really hold: every kind is read rightly or set aside with its reason."""

import csv
import io
import os
import re
import shutil
import sys
import wave
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from ssl_audio import cli
from ssl_audio.__main__ import app
from ssl_audio.data.prepare import describe, prepare

RATE = 16_000
CODECS_MAY_DIFFER_BY = 0.02


def tone(sample_rate=RATE, seconds=0.5, channels=1, level=0.5):
    """(samples, channels) of a low sine that survives every rate, codec and sum of channels."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.repeat(level * np.sin(2 * np.pi * 300 * time)[:, None], channels, axis=1)


def encode(samples, sample_rate=RATE, format="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    sf.write(file, samples, sample_rate, format=format, subtype=subtype)
    return file.getvalue()


MP3 = encode(tone(seconds=2), format="MP3", subtype="MPEG_LAYER_III")
OGG = encode(tone(seconds=2), format="OGG", subtype="OPUS")
FLAC = encode(tone(seconds=2), format="FLAC")
WAV = encode(tone(seconds=2))


def cut(encoded):
    return encoded[: len(encoded) * 6 // 10]


def with_size(size):
    """A wav whose data chunk claims to be so long."""
    place = WAV.index(b"data") + 4
    return WAV[:place] + size.to_bytes(4, "little") + WAV[place + 4 :]


def claim_a_day(flac):
    """A FLAC whose header promises all the samples that it can."""
    changed = bytearray(flac)
    changed[21] |= 0x0F
    changed[22:26] = b"\xff" * 4
    return bytes(changed)


@dataclass(frozen=True)
class Read:
    """Comes through with this length, format and level."""

    num_samples: int
    source_format: str
    source_sample_rate: int = RATE
    source_channels: int = 1
    level: float = 0.5


@dataclass(frozen=True)
class Aside:
    """Is set aside for this reason."""

    reason: str


KINDS = {
    "empty.wav": (b"", Aside(r"empty file \(0 bytes\)")),
    "cut.mp3": (cut(MP3), Aside(r"cut short: its header promises 2.00 s, 1\.\d\d s could be")),
    "cut.wav": (cut(WAV), Aside("cut short: its header promises 64000 bytes, it holds 38")),
    "cut.flac": (cut(FLAC), Aside("can't be decoded as audio")),
    "cut.ogg": (cut(OGG), Aside("cut short: its last Ogg page is not there")),
    "text.wav": (b"this is no audio\n" * 30, Aside("can't be decoded as audio: Format not rec")),
    "mp3 named.wav": (MP3, Read(32_000, "MP3/MPEG_LAYER_III")),
    "wav named.mp3": (WAV, Read(32_000, "WAV/PCM_16")),
    "nan.wav": (encode([[0.1], [np.nan]] * 9, subtype="FLOAT"), Aside("holds NaN or infinite")),
    "inf.wav": (encode([[0.1], [np.inf]] * 9, subtype="DOUBLE"), Aside("holds NaN or infinite")),
    "silence.wav": (encode(np.zeros(8000), 44_100), Aside("silence: every sample is zero")),
    "silence.flac": (encode(np.zeros((99, 2)), format="FLAC"), Aside("silence")),
    "silence.mp3": (
        encode(np.zeros(8000), format="MP3", subtype="MPEG_LAYER_III"),
        Aside("silence: every sample is zero"),
    ),
    "offset.wav": (encode(np.full(8000, 0.25), 48_000), Aside("constant: every sample is 0.25")),
    "clipped.wav": (encode(tone(level=3.0).clip(-1, 1)), Read(8000, "WAV/PCM_16", level=1.0)),
    "loud.wav": (encode(tone(level=3.0), subtype="FLOAT"), Read(8000, "WAV/FLOAT", level=1.0)),
    "8-bit.wav": (encode(tone(), subtype="PCM_U8"), Read(8000, "WAV/PCM_U8")),
    "24-bit.wav": (encode(tone(), subtype="PCM_24"), Read(8000, "WAV/PCM_24")),
    "float64.wav": (encode(tone(), subtype="DOUBLE"), Read(8000, "WAV/DOUBLE")),
    "telephone.wav": (encode(tone(8000), 8000, subtype="ULAW"), Read(8000, "WAV/ULAW", 8000)),
    "8 kHz.wav": (encode(tone(8000), 8000), Read(8000, "WAV/PCM_16", 8000)),
    "44.1 kHz.wav": (encode(tone(44_100), 44_100), Read(8000, "WAV/PCM_16", 44_100)),
    "96 kHz.flac": (encode(tone(96_000), 96_000, "FLAC"), Read(8000, "FLAC/PCM_16", 96_000)),
    "192 kHz.wav": (encode(tone(192_000), 192_000), Read(8000, "WAV/PCM_16", 192_000)),
    "6 channels.wav": (
        encode(tone(48_000, channels=6), 48_000, "WAVEX"),
        Read(8000, "WAVEX/PCM_16", 48_000, 6),
    ),
    "one channel of two.wav": (
        encode(tone(channels=2) * [1, 0]),
        Read(8000, "WAV/PCM_16", source_channels=2, level=0.25),
    ),
    "short.wav": (encode(tone(seconds=0.01)), Read(160, "WAV/PCM_16")),
    "no samples.wav": (encode(np.zeros((0, 1))), Aside("no samples in it")),
    "zero-length data.wav": (with_size(0), Aside("no samples in it")),
    "huge length.wav": (with_size(2**31 - 2**22), Aside("cut short: its header promises 21432")),
    "streamed.wav": (with_size(2**32 - 1), Read(32_000, "WAV/PCM_16")),
    "huge length.flac": (claim_a_day(FLAC), Aside("can't be decoded|cut short")),
    "header only.wav": (WAV[:30], Aside("can't be decoded as audio")),
    "1 Hz.wav": (encode(tone(), 1), Aside("its header gives a sample rate of 1 Hz")),
    "film.m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0", Aside("can't be decoded as audio")),
    "größer 漢字 🎙.wav": (WAV, Read(32_000, "WAV/PCM_16")),
    "new\nline.wav": (WAV, Read(32_000, "WAV/PCM_16")),
    'quo"te, comma.wav': (WAV, Read(32_000, "WAV/PCM_16")),
    "twin.wav": (WAV, Read(32_000, "WAV/PCM_16")),
    "twin.mp3": (MP3, Read(32_000, "MP3/MPEG_LAYER_III")),
    "broken\nline.wav": (b"", Aside("empty file")),
    "link to nothing.wav": (None, Aside("a link that points to nothing")),
    "pipe.wav": (None, Aside("is not an ordinary file")),
}
"""Content by name, and what becomes of it."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad") / "tree"
    root.mkdir()
    for name, (content, _) in KINDS.items():
        if content is not None:
            (root / name).write_bytes(content)
    (root / "link to nothing.wav").symlink_to("nowhere.wav")
    os.mkfifo(root / "pipe.wav")
    return root


@pytest.fixture(scope="module")
def preparation(tree):
    return prepare("folder", tree, tree.parent / "out")


@pytest.mark.parametrize("name", [name for name, (_, fate) in KINDS.items() if type(fate) is Read])
def test_read_rightly(name, preparation):
    fate = KINDS[name][1]
    (place,) = [i for i, clip in enumerate(preparation.corpus.clips) if clip.path == name]
    clip, samples = preparation.corpus.clips[place], preparation.corpus.views[place]
    assert (clip.num_samples, len(samples)) == (fate.num_samples, fate.num_samples)
    assert (clip.source_format, clip.source_sample_rate) == (
        fate.source_format,
        fate.source_sample_rate,
    )
    assert clip.source_channels == fate.source_channels
    inner = samples[len(samples) // 4 : -len(samples) // 4] / 32_768
    assert np.abs(inner).max() == pytest.approx(fate.level, abs=CODECS_MAY_DIFFER_BY)


@pytest.mark.parametrize("name", [name for name, (_, fate) in KINDS.items() if type(fate) is Aside])
def test_set_aside(name, preparation):
    with (preparation.corpus.root / "quarantine.csv").open(newline="", encoding="utf-8") as file:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert re.match(KINDS[name][1].reason, reasons[name])
    assert "\n" not in reasons[name]
    assert name not in {clip.path for clip in preparation.corpus.clips}


def test_the_run_goes_on_and_counts(preparation):
    num_read = sum(type(fate) is Read for _, fate in KINDS.values())
    assert len(preparation.corpus) == num_read
    assert len(preparation.quarantined) == len(KINDS) - num_read
    summary = describe(preparation)
    assert f"{num_read} clips" in summary and f"set aside: {len(KINDS) - num_read}\n" in summary
    assert "\n  broken line.wav: empty file (0 bytes)\n" in summary
    ids = {clip.clip_id for clip in preparation.corpus.clips}
    assert {"twin.wav", "twin.mp3", "new\nline", "größer 漢字 🎙", "8-bit"} <= ids


def test_strict_ends_with_exit_code_2(tree, monkeypatch, capfd):
    out = tree.parent / "strict"
    command = ["prepare", "folder", str(tree), "--strict", "--output", str(out)]
    monkeypatch.setattr(sys, "argv", ["ssl_audio", *command])
    with pytest.raises(SystemExit) as stopped:
        cli.run(app, "ssl_audio")
    assert stopped.value.code == 2 and not out.exists()
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("error: --strict: ") and "to be set aside, first 1 Hz.wav" in line


def test_no_permission(tmp_path):
    root = tmp_path / "tree"
    (root / "locked").mkdir(parents=True)
    for name in ("open.wav", "closed.wav", "locked/inside.wav"):
        (root / name).write_bytes(WAV)
    (root / "closed.wav").chmod(0)
    if os.access(root / "closed.wav", os.R_OK):
        pytest.skip("who runs this may read everything")
    (root / "locked").chmod(0)
    try:
        preparation = prepare("folder", root, tmp_path / "out")
    finally:
        (root / "locked").chmod(0o700)
    assert [clip.path for clip in preparation.corpus.clips] == ["open.wav"]
    assert {item.path: item.reason for item in preparation.quarantined} == {
        "closed.wav": "can't be opened: Permission denied",
        "locked": "can't be searched: Permission denied",
    }


TABLE = (
    "path,emotion,speaker\n"
    "named.wav,sad,s1\n"
    "unlabelled.wav,,s1\n"
    "gone.wav,sad,s2\n"
    "named.wav,happy,s1\n"
    ",sad,s1\n"
)


def test_tables_and_folders_that_disagree(tmp_path):
    for name in ("named.wav", "unlabelled.wav", "unnamed.wav"):
        (tmp_path / name).write_bytes(WAV)
    (tmp_path / "t.csv").write_text(TABLE)
    preparation = prepare("csv", tmp_path / "t.csv", tmp_path / "out")
    assert {clip.clip_id: clip.emotion for clip in preparation.corpus.clips} == {
        "named": "sad",
        "unlabelled": None,
    }
    assert {item.path: item.reason for item in preparation.quarantined} == {
        "gone.wav": "no such file",
        "named.wav": "second file of clip named: named.wav is kept (same audio, labelled happy "
        "here, labelled sad there)",
        "t.csv, line 6": "names no file",
        "unnamed.wav": "in no row of t.csv",
    }
    arguments = ["prepare", "csv", str(tmp_path / "t.csv"), "--output", str(tmp_path / "strict")]
    assert "--strict: 4 of" in str(CliRunner().invoke(app, [*arguments, "--strict"]).exception)


def test_ids_twice_and_impossible_labels_of_ravdess(tmp_path):
    names = (
        "a/03-01-05-01-01-01-01.wav",
        "b/03-01-05-01-01-01-01.flac",
        "03-01-09-01-01-01-01.wav",
    )
    for name, content in zip(names, (WAV, FLAC, WAV), strict=True):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    preparation = prepare("ravdess", tmp_path / "in", tmp_path / "out")
    assert [clip.path for clip in preparation.corpus.clips] == [names[0]]
    reasons = {item.path: item.reason for item in preparation.quarantined}
    assert "second file of clip 03-01-05-01-01-01-01" in reasons[names[1]]
    assert "not a RAVDESS name" in reasons[names[2]]


@pytest.mark.slow
def test_two_hours_become_segments(tmp_path):
    """A minute of tone, the rest a hole in a sparse file: silent segments of a recording stay."""
    path = tmp_path / "in" / "talk.wav"
    path.parent.mkdir()
    num_samples = 2 * 3600 * RATE
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, num_samples, "NONE", ""))
        file.writeframes((tone(seconds=60) * 32_767).astype("<i2").tobytes())
    with path.open("r+b") as file:
        header = file.read(44)
        file.truncate(44 + 2 * num_samples)
        file.seek(4)
        file.write((36 + 2 * num_samples).to_bytes(4, "little"))
        file.seek(40)
        file.write((2 * num_samples).to_bytes(4, "little"))
    assert header.startswith(b"RIFF") and header.endswith((60 * RATE * 2).to_bytes(4, "little"))
    preparation = prepare("folder", path.parent, tmp_path / "out")
    clips = preparation.corpus.clips
    assert preparation.quarantined == ()
    assert sum(clip.num_samples for clip in clips) == num_samples
    assert max(clip.num_samples for clip in clips) <= 30 * RATE
    assert {clip.parent for clip in clips} == {"talk"}
    starts = np.cumsum([0, *(clip.num_samples for clip in clips)])[:-1] / RATE
    np.testing.assert_allclose([clip.offset_seconds for clip in clips], starts)
    shutil.rmtree(tmp_path / "out")
