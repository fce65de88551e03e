"""What an interrupted preparation leaves behind, and what the next one makes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ssl_audio.data import portions, prepare
from ssl_audio.data.aside import folder_aside
from ssl_audio.data.corpora import Listing
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.segments import split
from ssl_audio.data.shards import open_shard
from ssl_audio.errors import DataError, UserError

RATE = 16_000


@pytest.fixture
def corpus(tmp_path, monkeypatch, write_noise):
    """30 short files, one of 70 s, and one that is cut short after 60 s; portions of six."""
    monkeypatch.setattr(portions, "MOST_RECORDINGS", 6)
    root = tmp_path / "in"
    for number in range(30):
        write_noise(root / f"clip{number:02d}.wav")
    write_noise(root / "long.flac", seconds=70)
    cut = write_noise(root / "cut.flac", seconds=90)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 3 // 4])
    return root


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Killed(BaseException):
    """Ends the run from inside, as a signal would."""


def interrupt(corpus: Path, output: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> Path:
    """Ends a run when this many clips have been measured; gives the folder aside."""
    measured = []

    def measure(samples):
        measured.append(len(samples))
        if len(measured) > after:
            raise Killed
        return portions_measure(samples)

    portions_measure = portions.measure
    with monkeypatch.context() as patch:
        patch.setattr(portions, "measure", measure)
        patch.setattr(prepare, "count_cores", lambda: 1)
        with pytest.raises(Killed):
            prepare.prepare("folder", corpus, output)
    return output.with_name(f".{output.name}.partial")


def test_long_and_broken_files_among_short_ones(corpus, tmp_path):
    prepared = prepare.prepare("folder", corpus, tmp_path / "out")
    ids = [clip.clip_id for clip in prepared.corpus.clips]
    assert len(ids) == 33 and [name for name in ids if "@" in name] == [
        clip.clip_id for clip in prepared.corpus.clips if clip.parent == "long"
    ]
    assert [item.path for item in prepared.quarantined] == ["cut.flac"]
    whole, _ = sf.read(corpus / "long.flac", dtype="int16")
    views = [
        view
        for clip, view in zip(prepared.corpus.clips, prepared.corpus.views, strict=True)
        if clip.parent
    ]
    np.testing.assert_array_equal(np.concatenate(views), whole)


def test_goes_on_where_it_was_interrupted(corpus, tmp_path, monkeypatch):
    prepare.prepare("folder", corpus, tmp_path / "undisturbed")
    aside = interrupt(corpus, tmp_path / "out", monkeypatch, after=20)
    assert len((aside / "journal.jsonl").read_text().splitlines()) == 3
    assert not (tmp_path / "out").exists()
    again = prepare.prepare("folder", corpus, tmp_path / "out")
    assert again.num_taken_over == 18
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert not aside.exists()


def test_nothing_half_written_is_taken_for_whole(corpus, tmp_path, monkeypatch):
    prepare.prepare("folder", corpus, tmp_path / "undisturbed")
    aside = interrupt(corpus, tmp_path / "out", monkeypatch, after=20)
    journal = aside / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1] + lines[2][:-40])
    damaged = aside / f"{json.loads(lines[1])['portion']}.arrow"
    shard = bytearray(damaged.read_bytes())
    shard[-1200] ^= 1
    damaged.write_bytes(shard)
    again = prepare.prepare("folder", corpus, tmp_path / "out")
    assert again.num_taken_over == 6
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def test_a_shard_without_its_end_is_made_again(corpus, tmp_path, monkeypatch):
    aside = interrupt(corpus, tmp_path / "out", monkeypatch, after=20)
    for shard in aside.glob("*.arrow"):
        os.truncate(shard, shard.stat().st_size // 2)
    assert prepare.prepare("folder", corpus, tmp_path / "out").num_taken_over == 0


def test_what_changed_meanwhile_is_decoded_again(corpus, tmp_path, monkeypatch, write_noise):
    interrupt(corpus, tmp_path / "out", monkeypatch, after=20)
    write_noise(corpus / "clip07.wav", seed="other")
    assert prepare.prepare("folder", corpus, tmp_path / "out").num_taken_over == 12
    prepare.prepare("folder", corpus, tmp_path / "undisturbed")
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def test_any_number_of_threads_gives_the_same(corpus, tmp_path, monkeypatch):
    for threads in (1, 5):
        monkeypatch.setattr(prepare, "count_cores", lambda threads=threads: threads)
        prepare.prepare("folder", corpus, tmp_path / str(threads))
    assert contents(tmp_path / "1") == contents(tmp_path / "5")


def test_killed_while_it_swapped(corpus, tmp_path):
    out = tmp_path / "out"
    before = prepare.prepare("folder", corpus, out).corpus.fingerprint
    out.rename(tmp_path / ".out.old")
    with folder_aside(out):
        assert PreparedCorpus.load(out).fingerprint == before


def test_two_at_once_are_refused(corpus, tmp_path):
    with folder_aside(tmp_path / "out"):
        with pytest.raises(UserError, match="is being prepared by another process"):
            prepare.prepare("folder", corpus, tmp_path / "out")


def test_a_name_like_that_of_a_segment(tmp_path, write_noise):
    for name in ("talk", "talk@000000.00", "other@000000.00"):
        write_noise(tmp_path / "in" / f"{name}.wav")
    prepared = prepare.prepare("folder", tmp_path / "in", tmp_path / "out")
    assert [clip.clip_id for clip in prepared.corpus.clips] == ["other@000000.00", "talk"]
    (item,) = prepared.quarantined
    assert item.reason == "its name is that of a segment of talk: rename it"


def test_long_recordings_of_one_name(tmp_path):
    noise = {
        seed: np.random.default_rng(seed).integers(-9, 9, 40 * RATE, np.int16) for seed in (1, 2)
    }
    audio = {"talk.aiff": noise[1], "talk.flac": noise[2], "talk.wav": noise[1], "tale": noise[2]}
    clips = tuple(Clip(clip_id=path[:4], path=path) for path in audio)
    listing = Listing(clips, lambda clip: split(clip, [audio[clip.path]]))
    (portion,), set_aside = portions.divide(listing)
    assert set_aside == []
    shard = tmp_path / "shard.arrow"
    outcome = portions.decode_portion(portion, listing, shard, lambda *_: None)
    assert [name for name, _ in open_shard(shard)] == [clip.clip_id for clip in outcome.clips]
    assert [(clip.path, clip.parent) for clip in outcome.clips] == [
        *[("tale", "tale")] * 2,
        *[("talk.aiff", "talk")] * 2,
    ]
    assert [item.reason for item in outcome.quarantined] == [
        "second file of clip talk: talk.aiff is kept (OTHER AUDIO)",
        "second file of clip talk: talk.aiff is kept (same audio)",
    ]


SLOWLY = """
import sys, time
from pathlib import Path
from ssl_audio.data import portions
from ssl_audio.data.prepare import prepare

measure = portions.measure
portions.measure = lambda samples: (time.sleep(0.02), measure(samples))[1]
portions.MOST_RECORDINGS = 6
prepare("folder", Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_kill_9(corpus, tmp_path):
    out, aside = tmp_path / "out", tmp_path / ".out.partial"
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, corpus, out])
    deadline = time.monotonic() + 60
    journal = aside / "journal.jsonl"
    while not journal.exists() or len(journal.read_bytes().splitlines()) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not out.exists()
    assert prepare.prepare("folder", corpus, out).num_taken_over >= 12
    prepare.prepare("folder", corpus, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert not aside.exists()


def test_strict_keeps_what_was_decoded(corpus, tmp_path):
    with pytest.raises(DataError, match="--strict: 1 of"):
        prepare.prepare("folder", corpus, tmp_path / "out", strict=True)
    assert prepare.prepare("folder", corpus, tmp_path / "out").num_taken_over == 32
