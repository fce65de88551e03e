import json
from pathlib import Path

import pytest
import torch

from ssl_audio.config import load_config
from ssl_audio.errors import ConfigError
from ssl_audio.pretrain import PretrainConfig, pretrain
from tests.ssl_audio.test_training import settings

pytestmark = pytest.mark.usefixtures("small_tiny")

MONITORED = ("train.max_steps=6", "train.save_every=6", "train.log_every=3", "monitor.every=3")


def test_probes_rank_and_picture_while_it_learns(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_audio.probes._NEIGHBOURS", 5)  # of 12 validation clips in five parts
    labelled = (f"monitor.corpus={prepared}", "monitor.folds=synthetic-3/speakers6")
    config = load_config(PretrainConfig, None, settings(prepared, *MONITORED, *labelled))
    pretrain(config, tmp_path / "run")
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "rank_me" in line]
    assert [line["step"] for line in measured] == [3, 6]
    for line in measured:
        assert line["rank_me"] > 1
        for label in ("emotion", "gender", "speaker"):
            assert 0 <= line[f"probe_{label}_linear"] <= 1 and 0 <= line[f"probe_{label}_knn"] <= 1
    names = sorted(path.name for path in (tmp_path / "run" / "pictures").iterdir())
    assert names == ["reconstruction-00000003.png", "reconstruction-00000006.png"]


def test_measuring_changes_nothing_of_the_run(prepared: Path, tmp_path: Path) -> None:
    for name, every in (("often", 2), ("at-the-end", 6)):
        config = load_config(
            PretrainConfig, None, settings(prepared, *MONITORED, f"monitor.every={every}")
        )
        pretrain(config, tmp_path / name)
    one, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("often", "at-the-end")
    )
    assert one == other and torch.is_grad_enabled()


@pytest.mark.slow
def test_a_resumed_run_may_be_measured_otherwise(prepared: Path, tmp_path: Path) -> None:
    for resume, every in ((False, 3), (True, 2)):
        changed = (f"monitor.every={every}", f"watch.every={every}")
        config = load_config(PretrainConfig, None, settings(prepared, *MONITORED, *changed))
        pretrain(config, tmp_path / "run", resume)
    assert (tmp_path / "run" / "run.json").is_file()


def test_mistakes_are_named(prepared: Path, tmp_path: Path) -> None:
    config = load_config(
        PretrainConfig, None, settings(prepared, *MONITORED, f"monitor.corpus={prepared}")
    )
    with pytest.raises(ConfigError, match=r"monitor\.folds is needed with monitor\.corpus"):
        pretrain(config, tmp_path / "run")
