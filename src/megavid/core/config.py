"""Typed configuration: frozen pydantic models, filled from YAML, with errors that name the key."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from megavid.core.errors import InputError
from megavid.core.files.json_yaml import load_json, load_yaml, read_yaml


class Config(BaseModel):
    """Base of every configuration section; it lives beside what it configures.

    Unknown keys are errors, and numbers are finite.
    """

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    """The section's keys in earlier versions, and what they are called now."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _parse_float(value: object) -> object:
    try:
        return value if isinstance(value, bool) else float(str(value))
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_parse_float)]
"""A field's type for numbers that users write as 1e-3, which YAML 1.1 takes for a word."""

ConfigT = TypeVar("ConfigT", bound=Config)

_SHOWN = reprlib.Repr()
"""Formats a wrong value briefly, however long or deeply nested it is."""
_SHOWN.maxstring = _SHOWN.maxother = 80


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        InputError: The file cannot be read, isn't YAML, or holds no mapping.
    """
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of keys, found {type(data).__name__}")
    return data


def with_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested `data` with values put in at dotted paths, such as {"method.window": 6}.

    Raises:
        InputError: A path leads through something that is no section.
    """
    result = dict(data)
    for path, value in overrides.items():
        *sections, key = path.split(".")
        place = result
        for section in sections:
            inside = place.get(section, {})
            if not isinstance(inside, Mapping):
                raise InputError(f"{path}: {section!r} is a value, not a section")
            copy = dict(inside)  # what `data` holds stays as it is
            place[section] = copy
            place = copy
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
    origin = f"--{path}"
    try:
        return load_json(text, origin=origin)  # YAML 1.1 takes 1e-3 for a word
    except InputError:
        return load_yaml(text, origin=origin)


def validate(model: type[ConfigT], data: object, *, origin: object) -> ConfigT:
    """Return nested `data`, as from YAML or JSON, as a configuration of type `model`.

    Args:
        origin: Where the data came from, for messages.

    Raises:
        InputError: No mapping, an unknown, renamed or missing key, or a value of the wrong type or range, by
            its dotted path.
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
    given = "" if isinstance(error["input"], Mapping) else f", got {_SHOWN.repr(error['input'])}"
    return f"{path}: {message}{given}"


def rename_keys(model: type[Config], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested data that an earlier version wrote, with its keys' present names.

    Args:
        model: The type of configuration that the data is for.
        data: Nested values; they are not checked.
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
    """Return the present name of a key, given by its dotted path in an earlier version."""
    old, dot, rest = path.partition(".")
    key = model.renamed_keys.get(old, old)
    section = _section(model, key)
    return key + dot + (rest if section is None else rename_path(section, rest))


def _renamed_paths(
    model: type[Config], data: Mapping[str, Any], *, old_section: str = "", section: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the dotted paths of renamed keys in nested data, the old and the new."""
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
    """Return the type of the section under a key; None for a single value."""
    field = model.model_fields.get(key)
    if field is None:
        return None
    types = (field.annotation, *get_args(field.annotation))
    return next((t for t in types if isinstance(t, type) and issubclass(t, Config)), None)
