"""Metadata of a predictions file: the keys and what each may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from megavid.core.errors import InputError
from megavid.core.files.parsing import load_json


def parse_metadata(content: bytes, *, origin: object) -> dict[str, Any]:
    """Parse and check the metadata of a predictions file.

    Args:
        content: JSON.
        origin: The file, for messages.

    Returns:
        All of it, with `classes` at least. Keys that are not known here are left as they are.

    Raises:
        InputError: It is no JSON, `classes` is missing, or a key holds something else than it should.
    """
    about = load_json(content, origin=f"{origin}, metadata")
    if not isinstance(about, dict):
        raise InputError(f"{origin}, metadata: expected an object in JSON, got {type(about).__name__}")
    for key, (expected, fits) in _FIELDS.items():
        if key in about and not fits(about[key]):
            raise InputError(f"{origin}, metadata: {key}: expected {expected}, got {about[key]!r}")
    if about.get("classes") is None:  # before version 0.2 they were in the configuration only
        about["classes"] = about.get("config", {}).get("classes")
    if not _names(about["classes"]):
        raise InputError(f"{origin}: expected predictions that megavid wrote; 'classes' is missing")
    return about


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _lengths(value: object) -> bool:
    return isinstance(value, Mapping) and all(_is_whole(number, 0) for number in value.values())


def _config(value: object) -> bool:
    """Whether the method and backbone, if given, are objects."""
    if not isinstance(value, Mapping):
        return False
    parts = value.get("method", {}), value.get("backbone", {})
    return all(isinstance(part, Mapping) for part in parts)


def _optional_names(value: object) -> bool:
    return value is None or _names(value)


def _text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _count(value: object) -> bool:
    return _is_whole(value, 0)


def _step(value: object) -> bool:
    return _is_whole(value, 1)


_FIELDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "classes": ("a list of names", _optional_names),
    "videos": ("the number of frames of each video", _lengths),
    "frames": ("a whole number of at least 0", _count),
    "left_out": ("a whole number of at least 0", _count),
    "every": ("a whole number of at least 1", _step),
    "complete": ("true or false", _truth),
    "postprocessing": ("text", _text),
    "weights": ("text", _text),
    "weights_sha256": ("text", _text),
    "config": ("the model's configuration", _config),
}
