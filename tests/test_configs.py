"""Every recipe loads; quick ones are run by the tests of their commands."""

from pathlib import Path

import pytest

from finetune.config import FinetuneConfig
from ssl_audio.config import Config, dump_config, load_config
from ssl_audio.pretrain import PretrainConfig

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "pretrain").glob("*.yaml")), ids=lambda p: p.stem
)
def test_pretraining_recipes_load(path: Path) -> None:
    config = load_config(PretrainConfig, path, ["data.corpus=prepared"])
    config.encoder.build_config()
    assert "max_steps" in dump_config(config)
    assert config != load_config(PretrainConfig, None, ["data.corpus=prepared"])


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "finetune").glob("*.yaml")), ids=lambda p: p.stem
)
def test_fine_tuning_recipes_load(path: Path) -> None:
    config = load_config(FinetuneConfig, path, ["data.corpus=prepared", "data.folds=x/y"])
    assert config.strategy == path.stem


@pytest.mark.parametrize("config_type", [PretrainConfig, FinetuneConfig])
def test_a_section_has_one_set_of_defaults(config_type: type[Config]) -> None:
    """Else setting one value of a section would silently change the others."""
    for name, field in config_type.model_fields.items():
        if isinstance(field.default, Config):
            assert field.default == type(field.default)(), name
