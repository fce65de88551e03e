import json
import sys

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.throughput import preparing, recordings
from benchmarks.throughput.cost import Setting, draw_cost, list_settings, measure_cost
from benchmarks.throughput.crops import write_long_corpus
from benchmarks.throughput.preparing import PrepareReport, measure_preparing
from benchmarks.throughput.resident import Watched, watch
from ssl_audio.data.audio import decode
from ssl_audio.errors import UserError

RATE = 16_000


@pytest.fixture
def short_blocks(monkeypatch):
    """Two blocks of 2 s of noise instead of speech of 30 s."""
    blocks = tuple(np.random.default_rng(0).integers(-9000, 9000, (2, 2 * RATE), np.int16))
    monkeypatch.setattr(recordings, "BLOCK_SECONDS", 2)
    monkeypatch.setattr(recordings, "render_samples", lambda: blocks)
    return blocks


def test_recordings_are_as_long_as_asked_and_differ(short_blocks, tmp_path):
    paths = recordings.write_recordings(tmp_path / "new", 4, seconds=15)
    assert [path.suffix for path in paths] == [".mp3", ".flac"] * 2
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [p.name for p in paths]
    audio = [decode(path.read_bytes()).samples for path in paths]
    assert [len(samples) / RATE for samples in audio] == pytest.approx([16] * 4, rel=0.03)
    assert len({samples.tobytes() for samples in audio}) == 4
    order = np.random.default_rng(1).integers(2, size=8)
    np.testing.assert_array_equal(audio[1], np.concatenate([short_blocks[n] for n in order]))
    info = sf.info(paths[0])
    assert (info.samplerate, info.channels, info.format) == (48_000, 2, "MP3")


HOLD = "import time; held = b'x' * {num_bytes}; time.sleep(1)"
MAP = """
import mmap, sys, time
with open(sys.argv[1], "wb+") as file:
    file.truncate(100_000_000)
    mapped = mmap.mmap(file.fileno(), 0)
    for place in range(0, len(mapped), 4096):
        mapped[place] = 1
    time.sleep(1)
"""
BOTH = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
held = b"x" * 80_000_000
time.sleep(1)
child.wait()
"""


def test_memory_of_children_counts():
    alone = watch([sys.executable, "-c", HOLD.format(num_bytes=1)])
    both = watch([sys.executable, "-c", BOTH, HOLD.format(num_bytes=120_000_000)])
    more = both.peak_resident_bytes - alone.peak_resident_bytes
    assert 190e6 < more < 260e6
    assert both.peak_private_bytes - alone.peak_private_bytes > 190e6
    assert 190e6 < both.high_water_bytes - alone.high_water_bytes < 260e6
    assert alone.high_water_bytes < 60e6
    assert both.num_samples >= 3 and both.wall_seconds > 1


def test_memory_that_was_written_through_a_map_counts(tmp_path):
    alone = watch([sys.executable, "-c", HOLD.format(num_bytes=1)])
    mapped = watch([sys.executable, "-c", MAP, str(tmp_path / "mapped")])
    assert 95e6 < mapped.peak_resident_bytes - alone.peak_resident_bytes < 120e6
    assert mapped.peak_private_bytes - alone.peak_private_bytes < 20e6


def test_a_command_that_fails_is_told():
    with pytest.raises(UserError, match="ended with exit code 3"):
        watch([sys.executable, "-c", "raise SystemExit(3)"])


def invoke(*arguments):
    return CliRunner().invoke(app, ["throughput", *map(str, arguments)])


def test_prepare_measures_and_cleans_up(short_blocks, tmp_path):
    """Two recordings of a minute: three clips each at most."""
    report, folder = tmp_path / "report.json", tmp_path / "work"
    result = invoke("prepare", "--folder", folder, "--files", 2, "--minutes", 1, "--json", report)
    assert result.exit_code == 0, result.output
    assert "2 recordings, 0.03 h of audio" in result.output
    figures = json.loads(report.read_text())
    assert figures["num_clips"] in (4, 5, 6)
    assert 5e7 < figures["watched"]["peak_resident_bytes"] < 1.5e9
    assert list(folder.iterdir()) == []


def test_too_much_memory_is_exit_code_1(monkeypatch, tmp_path):
    watched = Watched(1.0, 1.0, 10**9, 10**9, 2 * 10**9, 5)
    report = PrepareReport(1, 1, 1.0, 1, 1, watched)
    monkeypatch.setattr(preparing, "measure_preparing", lambda *_, **__: report)
    assert invoke("prepare", "--folder", tmp_path).exit_code == 1
    assert invoke("prepare", "--folder", tmp_path, "--limit", 2.5).exit_code == 0


def test_a_disk_that_is_too_small_is_told_before_anything_is_made(tmp_path):
    with pytest.raises(UserError, match=r"GB free, .* choose another --folder, or fewer --files"):
        measure_preparing(tmp_path / "x", 10**9, 60, num_cores=1)
    assert list((tmp_path / "x").iterdir()) == []


WAYS = (
    "memcpy of as many bytes",
    "CropStream",
    "datasets: row, then crop",
    "soundfile: FLAC, then crop",
)


def test_data_times_every_way(prepared, tmp_path):
    options = ("--batch-size", 4, "--crop-seconds", 0.5, "--round-seconds", 0.02)
    result = invoke("data", "--corpus", prepared, *options, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "r.json").read_text())
    assert [speed["way"] for speed in figures["speeds"]] == list(WAYS)
    rates = [speed["audio_seconds_per_second"] for speed in figures["speeds"]]
    assert rates[0] > rates[1] > rates[3] > 100
    assert all(way in result.output for way in WAYS)


@pytest.mark.slow
def test_long_recordings_take_little_memory(tmp_path):
    """Four times an hour, two of each kind."""
    report = measure_preparing(tmp_path / "work", 4, 60, num_cores=1)
    assert report.audio_hours == pytest.approx(4, rel=0.01)
    watched = report.watched
    assert max(watched.peak_resident_bytes, watched.high_water_bytes) < 600e6


@pytest.mark.slow
def test_crops_come_at_100_000_audio_seconds_per_second(tmp_path):
    from benchmarks.throughput.crops import measure_crops, write_long_corpus

    corpus = write_long_corpus(tmp_path / "corpus", hours=2)
    speeds = {speed.way: speed for speed in measure_crops(corpus, 64, 3.0, 1.0).speeds}
    assert speeds["CropStream"].fastest > 100_000


def test_cost_of_steps(tmp_path):
    corpus = write_long_corpus(tmp_path / "generated", 0.02)
    settings = [
        Setting("clips", "masked", "tiny", 2, 0.5),
        Setting("clips", "masked", "tiny", 4, 0.5),
        Setting("tokens", "latent", "tiny", 2, 1.0),
        Setting("weights", "masked", "small", 2, 0.5),
    ]
    table = measure_cost(corpus, 1, 0, settings)
    assert table["value"].tolist()[:3] == [2, 4, 25] and 2e7 < table["value"][3] < 3e7
    assert (table["fastest"] <= table["ms_per_clip"]).all() and (table["ms_per_clip"] > 0).all()
    assert table["gflops_per_clip"][0] == pytest.approx(table["gflops_per_clip"][1])
    assert table["gflops_per_clip"][3] > 2.5 * table["gflops_per_clip"][0]
    draw_cost(table, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"
    assert {setting.axis for setting in list_settings()} == {"clips", "tokens", "weights"}
