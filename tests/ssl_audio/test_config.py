from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import Discriminator, Field, Tag, model_validator

from ssl_audio.config import Config, Variant, dump_config, kind_or, load_config
from ssl_audio.errors import ConfigError


class Inner(Config):
    lr: float = 1.0
    steps: int = Field(default=3, ge=1)


class Kind(Variant):
    kind: str = "usual"
    size: int = 1


class First(Variant):
    kind: Literal["first"] = "first"


class Second(Variant):
    kind: Literal["second"] = "second"


Choice = Annotated[
    Annotated[First, Tag("first")] | Annotated[Second, Tag("second")],
    Discriminator(kind_or("first")),
]


class Outer(Config):
    name: str = "a"
    inner: Inner = Inner()
    variant: Kind = Kind()
    choice: Choice = First()
    pair: tuple[int, int] = (1, 2)
    level: Literal["last"] | int = "last"
    parts: dict[str, Inner] = Field(default_factory=dict)
    many: tuple[Inner, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == "odd" and self.inner.steps == 3:
            raise ValueError("name odd needs inner.steps other than 3")
        return self


class Part(Config):
    corpus: str
    folds: str
    fold: int = 1


class Needy(Config):
    part: Part
    many: tuple[Part, ...]
    word: str


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
        ("inner.lr.x=1", "inner.lr: Input should be a valid number, got {'x': 1}"),
        ("pair=[1]", "pair: a value is missing, got [1]"),
        ("pair=[1, x]", "pair.1: Input should be a valid integer"),
        ("level=x", "level: Input should be 'last' or Input should be a valid integer"),
        ("parts.one.stepz=1", "unknown key parts.one.stepz (known: lr, steps)"),
        ("many=[{steps: 0}]", "many.0.steps: Input should be greater than or equal to 1, got 0"),
        ("inner=3", "inner: expected a section, keys below inner, got 3"),
        ("choice=third", "choice: expected one of first, second, got 'third'"),
        (
            "choice=3",
            "choice: expected one of first, second, or a section that names its kind, got 3",
        ),
        ("name=odd", "name odd needs inner.steps other than 3"),
    ],
)
def test_wrong_overrides_name_the_key(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, None, [override])
    assert said in str(caught.value)


def test_what_concerns_several_keys_does_not_recite_them_all() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, None, ["name=odd"])
    assert str(caught.value) == "name odd needs inner.steps other than 3"


def test_of_a_missing_section_the_keys_are_named_that_it_needs() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Needy)
    part, many, word = str(caught.value).split("; ")
    assert many == "many is needed: give --set many=..."
    assert part == "part is needed: give --set part.corpus=... and --set part.folds=..."
    assert word == "word is needed: give --set word=..."
    with pytest.raises(ConfigError, match=r"^part.folds is needed: give --set part.folds=\.\.\.$"):
        load_config(Needy, None, ["part.corpus=x", "word=y", "many=[]"])


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
