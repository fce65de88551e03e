"""Every recipe loads; quick ones are run by the tests of their commands."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from benchmarks.systems.ours import OursSettings
from finetune.config import ClassifierConfig, FinetuneConfig
from ssl_audio.config import Config, dump_config, load_config
from ssl_audio.pretrain import PretrainConfig

VARIANTS = ("gender_emotion_flat", "long_clips", "augmented", "few_labels")
"""Recipes that are named after neither strategy nor head."""
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
    given = ["data.corpus=prepared", "data.folds=x/y", "encoder=pretrained"]
    config = load_config(FinetuneConfig, path, given)
    says_the_default = path.stem == "full"
    assert (load_config(FinetuneConfig, None, given) == config) == says_the_default
    assert path.stem in (config.strategy.kind, config.head.kind.replace("-", "_"), *VARIANTS)


def test_rows_of_recipes_are_the_recipes() -> None:
    rows = yaml.safe_load((CONFIGS / "benchmarks" / "recipes.yaml").read_text(encoding="utf-8"))
    named = rows["systems"].keys() & {path.stem for path in (CONFIGS / "finetune").glob("*.yaml")}
    assert named == {"probe", "full", "head_first", "lora", "frozen"}
    for name in named:
        given = ["data.corpus=prepared", "data.folds=x/y", "encoder=runs/pretrained"]
        recipe = load_config(FinetuneConfig, CONFIGS / "finetune" / f"{name}.yaml", given)
        row = OursSettings(**rows["systems"][name]["settings"])
        assert row.crop_seconds == recipe.data.crop_seconds
        for field in ClassifierConfig.model_fields:
            assert getattr(row, field) == getattr(recipe, field), f"{name}: {field}"


@pytest.mark.parametrize("config_type", [PretrainConfig, FinetuneConfig])
def test_a_section_has_one_set_of_defaults(config_type: type[Config]) -> None:
    """Else setting one value of a section would silently change the others."""
    for name, field in config_type.model_fields.items():
        if isinstance(field.default, Config):
            assert field.default == type(field.default)(), name


def all_configs(base: type[Config] = Config) -> set[type[Config]]:
    direct = set(base.__subclasses__())
    return direct.union(*(all_configs(one) for one in direct))


def test_every_field_is_read_somewhere() -> None:
    """A setting that nothing reads promises what does not happen."""
    packages = ("ssl_audio", "finetune", "benchmarks")
    files = [path for name in packages for path in (CONFIGS.parent / name).rglob("*.py")]
    for path in files:
        parts = path.relative_to(CONFIGS.parent).with_suffix("").parts
        if parts[-1] != "__main__":
            import_module(".".join(part for part in parts if part != "__init__"))
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    compared_whole = {"data_fingerprint", "folds_fingerprint"}
    own = {config for config in all_configs() if config.__module__.startswith(packages)}
    assert {PretrainConfig, FinetuneConfig} <= own
    for config in own:
        for field in config.model_fields.keys() - compared_whole:
            assert re.search(rf"\.{field}\b", source), f"{config.__name__}.{field} is never read"
