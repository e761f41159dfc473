"""Typed configuration: frozen pydantic models, filled from YAML, with errors that name the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from megavid.core.errors import InputError


class Config(BaseModel):
    """Base of every configuration section; it lives beside what it configures. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: The file cannot be read, isn't YAML, or holds no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        raise InputError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys, found {type(data).__name__}")
    return data


def with_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested `data` with values put in at dotted paths, such as {"method.window": 6}.

    Raises:
        InputError: A path leads through something that is no section.
    """
    result = deepcopy(dict(data))
    for path, value in overrides.items():
        *sections, key = path.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise InputError(f"{path}: {section!r} is a value, not a section")
        place[key] = value
    return result


def has_path(data: Mapping[str, Any], path: str) -> bool:
    """Whether nested `data` has a value at a dotted path."""
    place: Any = data
    for key in path.split("."):
        if not isinstance(place, Mapping) or key not in place:
            return False
        place = place[key]
    return True


def parse_overrides(overrides: Mapping[str, str]) -> dict[str, Any]:
    """Values given as text on a command line, read as JSON or YAML: {"method.window": "6"} has the number 6.

    Raises:
        InputError: A value is missing or neither.
    """
    parsed = {}
    for path, text in overrides.items():
        if not text:
            raise InputError(f"--{path}: expected a value")
        parsed[path] = _value(path, text)
    return parsed


def _value(path: str, text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)  # YAML 1.1 takes 1e-3 for a word
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"--{path}: expected a value in YAML, got {text!r}") from error


def validate(model: type[ConfigT], data: Mapping[str, Any], *, origin: str) -> ConfigT:
    """`data` as a configuration of type `model`.

    Args:
        origin: Where the data came from, for messages.

    Raises:
        InputError: An unknown or missing key or a value of the wrong type or range, by its dotted path.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{origin}: {'; '.join(_problem(e) for e in error.errors())}") from error


def _problem(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key"
    if error["type"] == "missing":
        return f"{path}: missing"
    message = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    given = "" if isinstance(error["input"], Mapping) else f", got {error['input']!r}"
    return f"{path}: {message}{given}"
