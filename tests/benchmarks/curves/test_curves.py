import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.curves.config import CurvesConfig
from benchmarks.curves.reading import open_state, read_curves
from benchmarks.curves.scoring import Reading, score
from benchmarks.protocol import PROTOCOLS
from ssl_audio.config import load_config
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.protocols import OpenProtocol, open_protocol
from ssl_audio.encoder import AudioEncoder
from ssl_audio.errors import UserError
from ssl_audio.pretrain import PretrainConfig, pretrain


@pytest.fixture(scope="module")
def run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("curves") / "joint"
    settings = ["objective.kind=joint", "objective.contrast.view_seconds=0.4"]
    settings += ["objective.prediction.kind=quantized", "objective.prediction.num_clusters=8"]
    settings += ["objective.prediction.decoder.layers=1", "data.crop_seconds=0.6"]
    settings += ["train.batch_size=4", "train.max_steps=6", "train.save_every=2"]
    settings += ["train.keep_checkpoints=9", "train.precision=float32", "train.attention=eager"]
    settings += ["train.warmup_steps=1", "train.lr=0.01", f"data.corpus={prepared}"]
    pretrain(load_config(PretrainConfig, None, settings), output)
    return output


def test_a_state_is_the_encoder_of_its_step(run: Path) -> None:
    states = {step: open_state("joint", run, step) for step in (0, 2, 6)}
    last = AudioEncoder.from_pretrained(run).state_dict()
    for name, weight in states[6].encoder.state_dict().items():
        np.testing.assert_array_equal(weight.numpy(), last[name].numpy())
    weights = [state.encoder.blocks[0].mlp[0].weight for state in states.values()]
    assert not any((a == b).all() for a, b in pairwise(weights))
    spent = [state.about.processor_seconds for state in states.values()]
    assert spent[0] == 0 and spent[1] < spent[2]


def test_a_run_of_another_version_is_read(run: Path, tmp_path: Path) -> None:
    older = shutil.copytree(run, tmp_path / "older")
    record = json.loads((older / "run.json").read_text())
    record["config"]["objective"] = {"kind": "joint", "of_old": 1}
    (older / "run.json").write_text(json.dumps(record))
    now, then = (open_state("joint", folder, 6) for folder in (run, older))
    assert now.about == then.about


def test_readings_and_picture(run: Path, prepared: Path, tmp_path: Path, monkeypatch) -> None:
    open_development(prepared, tmp_path)
    protocol = str(tmp_path / "development.yaml")
    config = CurvesConfig(
        runs={"joint": run}, corpora={prepared: protocol}, levels=(0, 12), checkpoints=2
    )
    said = read_curves(config, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "learning_curves.csv")
    # Log-mel statistics, the untrained encoder and two checkpoints of two levels, by two probes.
    assert len(table) == 2 + 3 * 2 * 2
    assert set(table["run"]) == {"log-mel statistics", "untrained", "joint"}
    assert set(table.loc[table["run"] == "joint", "step"]) in ({2, 6}, {4, 6})
    assert table["uar"].between(0, 1).all() and (table["ci_low"] <= table["uar"]).all()
    assert {str(path) for path in (tmp_path / "out").glob("*.png")} < set(said.splitlines())
    assert len(said.splitlines()) == 3
    monkeypatch.setattr("benchmarks.curves.reading.embed_levels", lambda *_: pytest.fail("again"))
    assert read_curves(config, tmp_path / "out") == said
    other = config.model_copy(update={"levels": (0, 6)})
    with pytest.raises(pytest.fail.Exception, match="again"):
        read_curves(other, tmp_path / "out")


def open_development(prepared: Path, tmp_path: Path) -> OpenProtocol:
    protocol = tmp_path / "development.yaml"
    protocol.write_text(
        "name: synthetic/development\nsources:\n  - corpus: synthetic\n"
        "classes: [angry, happy, neutral]\nscheme: leave-one-speaker-out\ndevelopment: true\n"
    )
    return open_protocol(str(protocol), [PreparedCorpus.load(prepared)], PROTOCOLS)


@pytest.mark.parametrize("which", ["linear", "knn"])
def test_gender_and_speaker_are_read_beside_emotion(
    which: str, prepared: Path, tmp_path: Path
) -> None:
    """Embeddings that tell who speaks and nothing of how."""
    opened = open_development(prepared, tmp_path)
    clips = opened.corpus.indices(opened.folds.clip_ids)
    manifest = [opened.corpus.clips[clip] for clip in clips]
    speakers = sorted({clip.speaker for clip in manifest})
    generator = np.random.default_rng(0)
    values = generator.normal(size=(len(clips), len(speakers) + 40)).astype(np.float32)
    for row, clip in zip(values, manifest, strict=True):
        row[speakers.index(clip.speaker)] += 9
        row[-40:] += 9 * (clip.gender == "female")
    about = Reading("run", "masked", 0, 1, 0.0, "synthetic/development", 12, which)
    reading = score(about, values, clips, opened)
    assert reading.gender_uar == 1 and reading.speaker_uar > 0.99
    assert reading.uar < 0.6
    anonymous = tuple(replace(clip, speaker=None, gender=None) for clip in opened.corpus.clips)
    nobody = replace(opened, corpus=replace(opened.corpus, clips=anonymous))
    unknown = score(about, values, clips, nobody)
    assert np.isnan(unknown.gender_uar) and np.isnan(unknown.speaker_uar)
    assert unknown.uar == reading.uar


def test_only_development_protocols_are_read(run: Path, prepared: Path, tmp_path: Path) -> None:
    config = CurvesConfig(runs={"joint": run}, corpora={prepared: "synthetic-3/speakers6"})
    with pytest.raises(UserError, match="no development protocol"):
        read_curves(config, tmp_path)
    with pytest.raises(UserError, match="name them, e.g"):
        read_curves(CurvesConfig(), tmp_path)
