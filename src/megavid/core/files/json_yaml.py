"""Parse JSON and YAML that may be broken or hostile, within limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from megavid.core.errors import InputError
from megavid.core.files.regular_files import read_bytes, read_text
from megavid.core.ranges import INT64

LARGEST_YAML = 1 << 20
"""Maximum length of a YAML document, in characters. Parsing one of this length takes seconds. A list of
20,000 class names has half this length."""

DEEPEST = 100
"""Maximum number of levels of nesting in YAML. Real files have fewer than ten."""


def load_json(content: str | bytes, *, origin: object) -> Any:
    """Parse JSON.

    NaN and Infinity are accepted, since Python writes them; callers check the numbers that they use.

    Args:
        content: The JSON text; bytes are decoded as UTF-8.
        origin: Source of the text, as named in error messages.

    Raises:
        InputError: The text is not JSON, is nested too deeply for Python, or has an integer of more than 64
            bits or a string that is not valid Unicode.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(text, parse_int=_parse_integer)
        # A lone surrogate comes from an escape in the text, or from a command line that is not UTF-8.
        if "\\ud" in text or "\\uD" in text or isinstance(content, str):
            _check_unicode(value)
    except ValueError as error:  # UnicodeDecodeError is a ValueError
        raise InputError(f"{origin}: expected JSON: {error}") from error
    except RecursionError as error:
        raise InputError(f"{origin}: expected JSON, got lists or objects nested too deep to read") from error
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file; see `load_json`.

    Raises:
        InputError: The file cannot be read, or `load_json` refuses it.
    """
    return load_json(read_bytes(path), origin=path)


def load_yaml(text: str, *, origin: object) -> Any:
    """Parse a YAML document without aliases.

    An alias repeats a part of a document, so a few lines with aliases could expand to gigabytes.

    Args:
        text: The YAML text.
        origin: Source of the text, as named in error messages.

    Raises:
        InputError: The text is not YAML, is too long, has more than `DEEPEST` levels of nesting, or has an
            alias or an integer of more than 64 bits.
    """
    if len(text) > LARGEST_YAML:
        raise InputError(f"{origin}: expected at most {LARGEST_YAML} characters of YAML, got {len(text)}")
    try:
        _check_events(text)
        value = yaml.load(text, Loader=_Loader)
        _check_unicode(value)
    # PyYAML raises ValueError for impossible numbers and TypeError for keys that cannot be hashed.
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InputError(f"{origin}: no valid YAML: {error}") from error
    return value


def read_yaml(path: Path) -> Any:
    """Read a YAML file; see `load_yaml`.

    Raises:
        InputError: The file cannot be read, or `load_yaml` refuses it.
    """
    return load_yaml(read_text(path, limit=LARGEST_YAML), origin=path)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that dates stay text and integers have at most 64 bits."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML declares it as a class variable
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return _check_64_bits(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _check_events(text: str) -> None:
    """Raise an error if a document, which is not loaded yet, has an alias or is nested too deeply."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"expected no aliases, got *{event.anchor}")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise ValueError(f"expected at most {DEEPEST} levels of nesting")


def _parse_integer(digits: str) -> int:
    if len(digits) > len(str(INT64.start)):
        raise ValueError(f"expected whole numbers of at most 64 bits, got one of {len(digits)} digits")
    return _check_64_bits(int(digits))


def _check_64_bits(number: int) -> int:
    if number not in INT64:
        raise ValueError("expected whole numbers of at most 64 bits")
    return number


def _check_unicode(value: Any) -> None:
    """Raise UnicodeEncodeError, which is a ValueError, if a string at any depth has a lone surrogate."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            part.encode()
        elif isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            waiting += part
