import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.throughput import predicting
from benchmarks.throughput.predicting import (
    OURS,
    TIMELINE,
    Report,
    Row,
    choose_files,
    write_clips,
)
from ssl_audio.data.audio import decode
from ssl_audio.errors import UserError


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise instead of speech, and no process of its own."""
    blocks = tuple(np.random.default_rng(0).integers(-9000, 9000, (3, 64_000), np.int16))
    monkeypatch.setattr(predicting, "render_samples", lambda: blocks)
    monkeypatch.setattr(predicting, "_SHORTEST", 0.3)
    monkeypatch.setattr(predicting, "_LONGEST", 0.5)
    monkeypatch.setattr(predicting, "time_command", lambda *_: 1.5)


# librosa imports audioread, and that what Python 3.13 has no more.
@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")
@pytest.mark.usefixtures("noise")
def test_every_way_gives_the_same_answers_and_is_timed(tmp_path: Path) -> None:
    arguments = ["throughput", "predict", "--files", "3", "--rounds", "1", "--size", "tiny"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "r.json")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["num_files"] == 3 and 0.9 < report["audio_seconds"] < 1.6
    rows = {row["way"]: row for row in report["rows"]}
    assert len(rows) == 6 and all(row["size"] == "tiny" for row in rows.values())
    for row in rows.values():
        assert 0 < row["fastest"] <= row["real_time_factor"] <= row["slowest"]
        assert row["difference"] < 1e-2 and row["processor_factor"] > 0
    decoding, model = (rows[name] for name in rows if name.startswith("  its"))
    assert decoding["real_time_factor"] < model["real_time_factor"]
    assert rows["librosa and the model, one by one"]["difference"] > 0  # it is not ours again
    told = "the bar of 0.01 on 2 cores is" in done.output
    assert told == (report["threads"] == 2 and report["device"] == "cpu")
    assert "1.5 s for a single" in done.output


@pytest.mark.usefixtures("noise")
def test_files_are_taken_evenly(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", 7)
    assert [path.suffix for path in sorted(folder.iterdir())] == [".mp3", ".wav"] * 3 + [".mp3"]
    lengths = [len(decode(path.read_bytes()).samples) / 16_000 for path in folder.iterdir()]
    assert 0.29 < min(lengths) < max(lengths) < 0.6
    assert [path.stem for path in choose_files(folder, 4)] == ["00000", "00002", "00004", "00006"]
    assert len(choose_files(folder, 100)) == 7


def test_bars_are_of_ours_alone() -> None:
    def row(way: str, factor: float) -> Row:
        return Row("small", way, factor, factor, factor, factor, 1.0, 0.0)

    def describe(*rows: Row, threads: int = 2, device: str = "cpu") -> str:
        return Report("x", 1, 1.0, threads, device, 1, 1.0, 0.5, rows).describe()

    assert "small: the bar of 0.03 on 2 cores is met" in describe(row(OURS, 0.03))
    told = describe(row(OURS, 0.031), row("librosa", 0.01))
    assert "MISSED" in told and "is met" not in told
    both = describe(row(OURS, 0.01), row(TIMELINE, 0.04))
    assert f"is met by {OURS}\n" in both and f"is MISSED by {TIMELINE}\n" in both
    assert "bar" not in describe(row(OURS, 0.03), threads=1)
    assert "bar" not in describe(row(OURS, 0.03), device="cuda")


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--size huge: choose tiny, small, base"):
        predicting.measure_predicting(None, 1, ["huge"], 1)
    (tmp_path / "x.wav").write_text("no audio")
    with pytest.raises(UserError, match="none of 1 files can be read"):
        predicting.measure_predicting(tmp_path, 1, ["tiny"], 1)
