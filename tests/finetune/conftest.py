"""Encoder and classifier of a few steps, on synthetic speech."""

from pathlib import Path

import pytest

from finetune.train import finetune as run_finetune
from ssl_audio.config import load_config
from ssl_audio.encoder_config import SIZES
from ssl_audio.pretrain import PretrainConfig, pretrain
from tests.conftest import SMALL
from tests.finetune.configuring import FAST, PROTOCOL, configure


@pytest.fixture(autouse=True, scope="module")
def quick(small_tiny: None) -> None:
    """For every test here."""


@pytest.fixture(scope="session")
def encoder(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("encoder") / "run"
    data = [f"data.corpus={prepared}", f"data.folds={PROTOCOL}"]
    steps = ["train.max_steps=3", "train.batch_size=4", "train.warmup_steps=1"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(SIZES, "tiny", SMALL)
        pretrain(load_config(PretrainConfig, None, [*data, *FAST, *steps]), output)
    return output


@pytest.fixture(scope="session")
def tuned(prepared: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("tuned") / "run"
    # The best of its steps, whatever a probe is worth.
    strategy = "strategy={kind: full, keep_probe: false}"
    run_finetune(configure(prepared, f"encoder={encoder}", strategy), output)
    return output
