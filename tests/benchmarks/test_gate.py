"""The benchmark of the leak gate: what it injects is what it says, and is found."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.gate import running
from benchmarks.gate.changes import list_changes
from benchmarks.gate.config import GateConfig
from benchmarks.gate.leaks import list_leaks
from benchmarks.gate.material import Material
from benchmarks.gate.neighbours import SHORTEST, choose_place
from benchmarks.gate.report import summarise
from ssl_audio.audit.report import SEVERITIES
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.prepared import PreparedCorpus, folds_path, write_corpus
from ssl_audio.data.splits import build_folds
from ssl_audio.data.synthetic import SyntheticSettings, synthesise

PROTOCOL = "synthetic-3/speakers6"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Twelve speakers, three emotions, one statement, said twice."""
    root = tmp_path_factory.mktemp("gate") / "corpus"
    (root / "folds").mkdir(parents=True)
    emotions = ("neutral", "happy", "angry")
    settings = SyntheticSettings(num_speakers=12, emotions=emotions, num_statements=1)
    clips = write_corpus(root, "synthetic", synthesise(settings))
    build_folds("synthetic", clips).save(folds_path(root, PROTOCOL))
    return PreparedCorpus.load(root)


@pytest.fixture(scope="module")
def material(corpus):
    return Material.of(corpus, PROTOCOL)


LEAKS = {f"{number} {leak.kind} {leak.strength}": leak for number, leak in enumerate(list_leaks())}


@pytest.mark.parametrize("name", LEAKS)
def test_every_leak_is_found_and_its_clean_twin_is_not(material, name):
    leak = LEAKS[name]
    found, clean = (
        [
            finding.severity
            for finding in inject(material, np.random.default_rng(0)).audit(leak.kind)
        ]
        for inject in (leak.inject, leak.clean)
    )
    bad_enough = SEVERITIES[: SEVERITIES.index(leak.severity) + 1]
    assert set(found) & set(bad_enough)
    assert not set(clean) & set(bad_enough)


CHANGES = {f"{change.kind} {change.name} {change.strength}": change for change in list_changes()}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_gives_another_waveform(corpus, name):
    waveform = corpus.views[0].astype(np.float32) / 32_768
    changed = CHANGES[name].apply(waveform, np.random.default_rng(0))
    assert changed.ndim == 1 and np.isfinite(changed).all()
    assert len(changed) >= SAMPLE_RATE // 4
    assert len(changed) != len(waveform) or not np.array_equal(changed, waveform)


@pytest.mark.parametrize("snr_db", [30, 20, 10, 5])
def test_noise_has_the_level_it_says(corpus, snr_db):
    waveform = corpus.views[0].astype(np.float32) / 32_768
    (change,) = [c for c in list_changes() if c.name == "noise" and c.strength == f"{snr_db} dB"]
    noise = change.apply(waveform, np.random.default_rng(0)) - waveform
    measured = 10 * np.log10(np.mean(waveform**2) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.2)


@pytest.mark.slow
def test_command_counts_resumes_and_draws(corpus, tmp_path, monkeypatch):
    chosen = [c for c in list_changes() if c.strength in ("24 kbit/s", "5 dB", "50%")]
    monkeypatch.setattr(running, "list_changes", lambda: chosen)
    monkeypatch.setattr(running, "list_leaks", lambda: list_leaks()[:3])
    recipe = tmp_path / "gate.yaml"
    recipe.write_text(
        f"corpora: {{{corpus.root}: {PROTOCOL}}}\ncost: {corpus.root}\ncost_sizes: [20]\n"
        "clips_per_change: 2\nseeds: [0, 1]\n"
    )
    arguments = ["gate", "--config", str(recipe), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    recall = pd.read_csv(tmp_path / "out" / "recall.csv")
    halves = recall[recall["change"].str.startswith("neighbouring halves", na=False)]
    voices = recall[recall["change"] == "one voice under two names"]
    others = recall.drop([*halves.index, *voices.index])
    assert others["injected"].tolist() == [2, 2, 2, 4, 4, 4]
    assert (others["found"] == others["injected"]).all()
    assert halves["injected"].tolist() == [4] * 6
    assert set(halves["change"]) == {f"neighbouring halves, told{x}" for x in ("", " as a leak")}
    assert halves["strength"].tolist()[:2] == ["as cut"] * 2
    assert halves["found"].iloc[0] >= 1
    # Six clips of a speaker are too few to know a voice by.
    assert voices[["injected", "found"]].to_numpy().tolist() == [[4, 0]] * 3
    assert (recall["false_alarms"] == 0).all()
    alarms = pd.read_csv(tmp_path / "out" / "alarms.csv")
    assert alarms[["leaks", "hard_negatives", "copies"]].to_numpy().tolist() == [[0, 36, 0]]
    assert (tmp_path / "out" / "cost.png").stat().st_size > 5000
    assert pd.read_csv(tmp_path / "out" / "cost.csv")["num_clips"].tolist() == [20, 72]

    def fail(*_):
        raise AssertionError("what is there is not made again")

    for name in (
        "score_leaks",
        "score_changes",
        "score_neighbours",
        "score_voices",
        "count_alarms",
        "measure_cost",
    ):
        monkeypatch.setattr(running, name, fail)
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert again.output == result.output


def test_recordings_are_cut_where_they_sound(corpus):
    rng = np.random.default_rng(0)
    for view in corpus.views[:5]:
        place = choose_place(view, rng)
        assert SHORTEST <= place <= len(view) - SHORTEST
        near = np.square(view[place - 320 : place + 320] / 32_768).mean()
        loudest = max(np.square(part / 32_768).mean() for part in np.array_split(view, 100))
        assert 10 * np.log10(near / loudest) > -35


def test_recall_has_an_interval():
    rows = pd.DataFrame(
        [("c", "k", "", "s", seed, 10, found, found, 0) for seed, found in ((0, 9), (1, 10))],
        columns=[
            *"corpus kind change strength seed injected found called_right false_alarms".split()
        ],
    )
    (row,) = summarise(rows).itertuples()
    assert (row.injected, row.found, row.recall) == (20, 19, 0.95)
    # Wilson 1927, for 19 of 20.
    assert (round(row.ci_low, 3), round(row.ci_high, 3)) == (0.764, 0.991)


def test_mistakes():
    assert GateConfig().corpora == {}
    result = CliRunner().invoke(app, ["gate", "--output", "nowhere"])
    assert "corpora" in str(result.exception)
