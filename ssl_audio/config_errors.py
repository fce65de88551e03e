"""What is wrong with a configuration, in one line that names keys as the user writes them."""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def describe(config_type: type[BaseModel], error: ValidationError) -> str:
    """One line; what a key could be instead of what came is said together."""
    told: dict[tuple[str, str], dict[str, None]] = {}
    for detail in error.errors():
        before, said, after = _describe_one(config_type, detail)
        told.setdefault((before, after), {})[said] = None
    return "; ".join(
        f"{before}{' or '.join(said)}{after}" for (before, after), said in told.items()
    )


def _describe_one(config_type: type[BaseModel], detail: ErrorDetails) -> tuple[str, str, str]:
    """What it is about, what is said of it, and what came."""
    kind, came = detail["type"], detail["input"]
    place = _follow(config_type, detail["loc"], of_new_key=kind in ("extra_forbidden", "missing"))
    key, got = ".".join(place.names), f", got {came!r}"
    match kind:
        case "extra_forbidden":
            known = ", ".join(place.owner.model_fields) if place.owner else ""
            return f"unknown key {key} (known: {known})", "", ""
        case "missing" if isinstance(detail["loc"][-1], int):
            return f"{'.'.join(place.names[:-1])}: ", "a value is missing", got
        case "missing":
            needed = " and ".join(f"--set {name}=..." for name in place.needed)
            return f"{key} is needed: give {needed}", "", ""
        case "union_tag_invalid":
            kinds = detail["ctx"]["expected_tags"].replace("'", "")
            return f"{key}: ", f"expected one of {kinds}", f", got {detail['ctx']['tag']!r}"
        case "union_tag_not_found":
            kinds = ", ".join(str(_kind_of(model)) for model in place.models)
            return f"{key}: ", f"expected one of {kinds}, or a section that names its kind", got
        case "model_type":
            return f"{key}: ", f"expected a section, keys below {key}", got
        case "value_error" if isinstance(came, dict | BaseModel):
            # Of several keys, which the message names.
            return f"{key}: " if key else "", detail["msg"].removeprefix("Value error, "), ""
    return f"{key}: ", detail["msg"].removeprefix("Value error, "), got


@dataclass(frozen=True)
class _Place:
    """Where in a configuration something is wrong.

    Attributes:
        names: the parts of the key as the user writes it.
        owner: the section that its last part was looked for in.
        annotation: of its value.
        models: the sections that its value could be.
    """

    names: list[str]
    owner: type[BaseModel] | None
    annotation: Any
    models: list[type[BaseModel]]

    @property
    def needed(self) -> list[str]:
        """The keys to give for a missing one: of a section those that it can't do without."""
        key = ".".join(self.names)
        if len(self.models) != 1 or _is_container(self.annotation):
            return [key]
        fields = self.models[0].model_fields.items()
        return [f"{key}.{name}" for name, field in fields if field.is_required()] or [key]


def _follow(
    config_type: type[BaseModel], location: tuple[int | str, ...], of_new_key: bool
) -> _Place:
    """A place by pydantic's location, which also names kinds that were chosen and types tried.

    Args:
        config_type: that was asked for.
        location: pydantic's.
        of_new_key: its last part is a key in any case, known or not.
    """
    names: list[str] = []
    owners: list[type[BaseModel]] = []
    annotation: Any = config_type
    found: list[type[BaseModel]] = [config_type]
    for number, part in enumerate(location):
        fields = found[0].model_fields if found else {}
        if _is_container(annotation):
            names.append(str(part))
            annotation = found
        elif chosen := [model for model in found if len(found) > 1 and _kind_of(model) == part]:
            found = chosen
        elif part in fields:
            names.append(str(part))
            owners, annotation = found, fields[str(part)].annotation
            found = _models_in(annotation)
        elif of_new_key and number == len(location) - 1:
            names.append(str(part))
            owners, annotation, found = found, None, []
    return _Place(names, owners[0] if owners else None, annotation, found)


def _is_container(annotation: Any) -> bool:
    """A dict, list or tuple, whose parts come next in a location."""
    return any(
        issubclass(origin, Mapping | Sequence)
        for part in (annotation, *typing.get_args(annotation))
        if isinstance(origin := typing.get_origin(part), type)
    )


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The configuration types that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _kind_of(model: type[BaseModel]) -> Any:
    return model.model_fields["kind"].default if "kind" in model.model_fields else None
