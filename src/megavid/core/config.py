"""Typed configuration: frozen pydantic models, read from YAML, with errors that name the key."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from megavid.core.errors import InputError
from megavid.core.files.json_yaml import load_json, load_yaml, read_yaml


class Config(BaseModel):
    """Base class of configuration sections: unknown keys are errors, and numbers are finite.

    The class of each section is defined in the module that the section configures.
    """

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    """Maps the name that a key had in an earlier version to the key's current name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _parse_float(value: object) -> object:
    try:
        return value if isinstance(value, bool) else float(str(value))
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_parse_float)]
"""Type of a float field that also accepts numbers as text, since YAML 1.1 reads 1e-3 as text."""

ConfigT = TypeVar("ConfigT", bound=Config)

_BRIEF = reprlib.Repr()
"""Formats an invalid value in a few characters, however long or deeply nested the value is."""
_BRIEF.maxstring = _BRIEF.maxother = 80


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        InputError: The file cannot be read, is not YAML, or does not contain a mapping.
    """
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys, found {type(data).__name__}")
    return data


def with_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested values in which the values at some dotted paths are replaced or added.

    Args:
        data: Nested values.
        overrides: The new values by dotted path, such as {"method.window": 6}.

    Raises:
        InputError: A path leads through a value that is not a section.
    """
    result = dict(data)
    for path, value in overrides.items():
        *sections, key = path.split(".")
        place = result
        for section in sections:
            inside = place.get(section, {})
            if not isinstance(inside, Mapping):
                raise InputError(f"{path}: {section!r} is a value, not a section")
            copy = dict(inside)  # `data` must not change
            place[section] = copy
            place = copy
        place[key] = value
    return result


def value_at(data: Mapping[str, Any], path: str, *, default: object = None) -> Any:
    """Return the value of nested `data` at a dotted path; `default` if there is no value at this path."""
    place: Any = data
    for key in path.split("."):
        if not isinstance(place, Mapping) or key not in place:
            return default
        place = place[key]
    return place


def has_path(data: Mapping[str, Any], path: str) -> bool:
    """Return whether nested `data` has a value, even None, at a dotted path."""
    missing = object()
    return value_at(data, path, default=missing) is not missing


def parse_overrides(overrides: Mapping[str, str]) -> dict[str, Any]:
    """Parse the values of command-line options as JSON or YAML.

    Args:
        overrides: Text of each value by dotted path. For example, {"method.window": "6"} is parsed to
            {"method.window": 6}.

    Raises:
        InputError: A text is empty, or neither JSON nor YAML.
    """
    parsed = {}
    for path, text in overrides.items():
        if not text:
            raise InputError(f"--{path}: expected a value")
        parsed[path] = _parse_value(path, text)
    return parsed


def _parse_value(path: str, text: str) -> Any:
    origin = f"--{path}"
    try:
        return load_json(text, origin=origin)  # JSON first, since YAML 1.1 reads 1e-3 as text
    except InputError:
        return load_yaml(text, origin=origin)


def validate(model: type[ConfigT], data: object, *, origin: object) -> ConfigT:
    """Make a typed configuration from nested values that were read from YAML or JSON.

    Args:
        model: Type of the configuration.
        data: Nested values.
        origin: Source of the values, as named in error messages.

    Raises:
        InputError: The data is not a mapping, a key is unknown, renamed or missing, or a value has the wrong
            type or is out of range. The message names the dotted path of the key.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{origin}: expected a mapping of keys, got {type(data).__name__}")
    if renamed := [f"{old}: renamed to {new}" for old, new in _renamed_paths(model, data)]:
        raise InputError(f"{origin}: {'; '.join(renamed)}")
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
    given = "" if isinstance(error["input"], Mapping) else f", got {_BRIEF.repr(error['input'])}"
    return f"{path}: {message}{given}"


def rename_keys(model: type[Config], data: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the key names of earlier versions in nested values by the current names.

    Args:
        model: Type of the configuration.
        data: Nested values, which are not validated.

    Returns:
        A copy of the values with the current names.
    """
    renamed: dict[str, Any] = {}
    for old, value in data.items():
        key = model.renamed_keys.get(old, old)
        section = _section(model, key)
        if section is not None and isinstance(value, Mapping):
            value = rename_keys(section, value)  # noqa: PLW2901
        renamed[key] = value
    return renamed


def rename_path(model: type[Config], path: str) -> str:
    """Return the current dotted path of a key, given the key's path in an earlier version."""
    old, dot, rest = path.partition(".")
    key = model.renamed_keys.get(old, old)
    section = _section(model, key)
    return key + dot + (rest if section is None else rename_path(section, rest))


def _renamed_paths(
    model: type[Config], data: Mapping[str, Any], *, old_section: str = "", section: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the old and the new dotted path of every renamed key in nested values."""
    for old, value in data.items():
        key = model.renamed_keys.get(old, old)
        if key != old:
            yield old_section + old, section + key
        inner = _section(model, key)
        if inner is not None and isinstance(value, Mapping):
            yield from _renamed_paths(
                inner, value, old_section=f"{old_section}{old}.", section=f"{section}{key}."
            )


def _section(model: type[Config], key: str) -> type[Config] | None:
    """Return the type of the section under a key; None if the key is unknown or holds a plain value."""
    field = model.model_fields.get(key)
    if field is None:
        return None
    types = (field.annotation, *get_args(field.annotation))
    return next((t for t in types if isinstance(t, type) and issubclass(t, Config)), None)
