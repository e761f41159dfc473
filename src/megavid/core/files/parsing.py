"""Read text, JSON and YAML from files that may be broken or hostile, within limits."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, NoReturn

import yaml

from megavid.core.errors import InputError
from megavid.core.ranges import INT64

GIB = 1 << 30

LARGEST_TEXT = 4 * GIB
"""Bytes of a text file. The JSON of a data set of ten million boxes takes less than two GiB."""

LARGEST_YAML = 1 << 20
"""Characters of a YAML document: half of it names 20,000 classes, and all of it takes seconds to read."""

DEEPEST = 100
"""Levels of nesting in YAML. No file that is read here needs ten."""


def check_regular_file(path: Path) -> None:
    """Check that a path, with links followed, is an ordinary file: no pipe or device, which may never end.

    Raises:
        InputError: It is not, or there is none.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        _refuse_unreadable(path, error)
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: expected a file, this is a folder")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: expected an ordinary file, this is a pipe, a socket or a device")


def read_bytes(path: Path, *, limit: int = LARGEST_TEXT) -> bytes:
    """Read a whole file.

    Args:
        path: An ordinary file.
        limit: Most bytes that it may have.

    Raises:
        InputError: It is missing, no ordinary file, too large, or cannot be read.
    """
    check_regular_file(path)
    try:
        size = path.stat().st_size
        if size <= limit:
            return path.read_bytes()
    except OSError as error:
        _refuse_unreadable(path, error)
    raise InputError(f"{path}: expected at most {limit} bytes, it has {size}")


def read_text(path: Path, *, limit: int = LARGEST_TEXT) -> str:
    """Read a whole text file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: It is missing, no ordinary file, too large, no UTF-8, or cannot be read.
    """
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8: {error}") from error


def load_json(content: str | bytes, *, origin: object) -> Any:
    """Parse JSON.

    NaN and Infinity are taken as floats, as Python writes them; whoever reads a number decides about them.

    Args:
        content: The JSON. Bytes are UTF-8.
        origin: Where it came from, for messages.

    Raises:
        InputError: It is no JSON, nests too deep for Python, or holds a whole number beyond 64 bits or text
            that is no Unicode.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(text, parse_int=_whole_number)
        # Half a character comes from an escape, or from bytes of a command line that are no UTF-8.
        if "\\ud" in text or "\\uD" in text or isinstance(content, str):
            _check_unicode(value)
    except ValueError as error:  # UnicodeDecodeError is one
        raise InputError(f"{origin}: expected JSON: {error}") from error
    except RecursionError as error:
        raise InputError(f"{origin}: expected JSON, got lists or objects nested too deep to read") from error
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file; see `load_json`.

    Raises:
        InputError: It cannot be read, or is no such JSON.
    """
    return load_json(read_bytes(path), origin=path)


def load_yaml(text: str, *, origin: object) -> Any:
    """Parse a YAML document that uses no aliases.

    An alias repeats a part of the document, and a few lines of them stand for gigabytes. Nothing that is
    read here needs them.

    Args:
        text: The YAML.
        origin: Where it came from, for messages.

    Raises:
        InputError: It is no YAML, too large, nests deeper than `DEEPEST`, holds an alias, or a whole number
            beyond 64 bits.
    """
    if len(text) > LARGEST_YAML:
        raise InputError(f"{origin}: expected at most {LARGEST_YAML} characters of YAML, got {len(text)}")
    try:
        _check_events(text)
        value = yaml.load(text, Loader=_Loader)  # a subclass of the safe loader
        _check_unicode(value)
    # An impossible number is a ValueError; a key that cannot be hashed is a TypeError.
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InputError(f"{origin}: no valid YAML: {error}") from error
    return value


def read_yaml(path: Path) -> Any:
    """Read a YAML file; see `load_yaml`.

    Raises:
        InputError: It cannot be read, or is no such YAML.
    """
    return load_yaml(read_text(path, limit=LARGEST_YAML), origin=path)


class _Loader(yaml.SafeLoader):
    """The safe loader without dates: 2024-01-01 is text. Whole numbers fit into 64 bits."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by yaml
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return _in_64_bits(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _check_events(text: str) -> None:
    """Check the document's aliases and nesting before it is loaded."""
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


def _whole_number(digits: str) -> int:
    if len(digits) > len(str(INT64.start)):
        raise ValueError(f"expected whole numbers of at most 64 bits, got one of {len(digits)} digits")
    return _in_64_bits(int(digits))


def _in_64_bits(number: int) -> int:
    if number not in INT64:
        raise ValueError("expected whole numbers of at most 64 bits")
    return number


def _check_unicode(value: Any) -> None:
    """Raise UnicodeEncodeError, a ValueError, where a text at any depth holds a lone surrogate."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            part.encode()
        elif isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            waiting += part


def _refuse_unreadable(path: Path, error: OSError | ValueError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise InputError(f"{path}: no such file") from error
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise InputError(f"{path}: cannot be read: {reason}") from error
