from pathlib import Path

import pytest
from pydantic import Field

from ssl_audio.config import Config, Variant, dump_config, load_config
from ssl_audio.errors import ConfigError


class Inner(Config):
    lr: float = 1.0
    steps: int = Field(default=3, ge=1)


class Kind(Variant):
    kind: str = "usual"
    size: int = 1


class Outer(Config):
    name: str = "a"
    inner: Inner = Inner()
    variant: Kind = Kind()


def test_recipe_includes_and_overrides_apply_in_order(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: base\ninner: {lr: 1e-3, steps: 5}\n")
    (tmp_path / "child.yaml").write_text("include: base.yaml\ninner: {steps: 7}\n")
    config = load_config(Outer, tmp_path / "child.yaml", ["inner.lr=2e-4"])
    assert config == Outer(name="base", inner=Inner(lr=2e-4, steps=7))


def test_more_can_be_said_of_a_variant_that_was_only_named(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("variant: other\n")
    (tmp_path / "child.yaml").write_text("include: base.yaml\nvariant: {size: 2}\n")
    expected = Kind(kind="other", size=2)
    assert load_config(Outer, tmp_path / "child.yaml").variant == expected
    assert load_config(Outer, tmp_path / "base.yaml", ["variant.size=2"]).variant == expected
    assert load_config(Outer, None, ["variant=other", "variant.size=2"]).variant == expected


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    config = Outer(name="x", inner=Inner(lr=0.125))
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config(Outer, tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("inner.lrr=1", "unknown key inner.lrr (known: lr, steps)"),
        ("inner.steps=0", "inner.steps: Input should be greater than or equal to 1, got 0"),
        ("inner.steps=many", "inner.steps"),
        ("name.x=1", "name"),
        ("inner", "expected key=value"),
    ],
)
def test_wrong_overrides_name_the_key(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, None, [override])
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n", "a: [", "include: self.yaml\n", "name: \0"])
def test_wrong_files_are_config_errors(tmp_path: Path, text: str) -> None:
    (tmp_path / "self.yaml").write_text(text)
    with pytest.raises(ConfigError, match="self.yaml"):
        load_config(Outer, tmp_path / "self.yaml")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no.yaml: No such file"):
        load_config(Outer, tmp_path / "no.yaml")


def test_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().name = "b"  # type: ignore[misc]
