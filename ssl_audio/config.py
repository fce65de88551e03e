"""YAML files and ``--set`` overrides to frozen, strict pydantic models."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ssl_audio.config_errors import describe
from ssl_audio.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(Config):
    """One of several configurations that ``kind`` tells apart; a name alone takes its defaults."""

    kind: str

    @model_validator(mode="before")
    @classmethod
    def _accept_its_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


def kind_or(default: str | None) -> Callable[[Any], str | None]:
    """What a union of variants is told apart by: ``kind``, or this one where none is named."""

    def find_kind(value: Any) -> str | None:
        if isinstance(value, dict):
            kind = value.get("kind", default)
            return kind if kind is None else str(kind)
        return value if isinstance(value, str) else getattr(value, "kind", None)

    return find_kind


ConfigType = TypeVar("ConfigType", bound=Config)


def load_config(
    config_type: type[ConfigType], path: Path | None = None, overrides: Sequence[str] = ()
) -> ConfigType:
    """Builds a configuration from defaults, a recipe and overrides, in this order.

    Args:
        config_type: the model whose defaults are the base recipe.
        path: YAML recipe, a difference from the defaults; its ``include`` names a recipe, relative
            to itself, that it differs from in turn.
        overrides: ``a.b=value`` items; the value is read as YAML.

    Raises:
        ConfigError: with the key, what was expected and what came.
    """
    values = _read_recipe(path) if path else {}
    for item in overrides:
        _set(values, item)
    return build_config(config_type, values)


def build_config(config_type: type[ConfigType], values: dict[str, Any]) -> ConfigType:
    """A configuration from values that another one holds, e.g. a part whose type it only names.

    Raises:
        ConfigError: with the key, what was expected and what came.
    """
    try:
        return config_type.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe(config_type, error)) from None


def dump_config(config: Config) -> str:
    """YAML text that ``load_config`` reads back to an equal configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read_recipe(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: includes itself")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path} is not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"config {path}: expected keys and values, got {type(values).__name__}")
    include = values.pop("include", None)
    if include is None:
        return values
    return _merge(_read_recipe(path.parent / include, (*seen, path.resolve())), values)


def _merge(base: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in difference.items():
        known = merged.get(key)
        if isinstance(known, str):
            known = {"kind": known}
        nested = isinstance(value, dict) and isinstance(known, dict)
        merged[key] = _merge(known or {}, value) if nested else value
    return merged


def _set(values: dict[str, Any], item: str) -> None:
    key, equals, text = item.partition("=")
    if not equals or not key:
        raise ConfigError(
            f"--set {item}: expected key=value, for example --set train.max_steps=100"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if isinstance(inner, str):  # the name of a variant, of which more is said now
            inner = values[parent] = {"kind": inner}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {item}: {parent} is a value ({inner!r}), not a section")
        values = inner
    values[last] = value
