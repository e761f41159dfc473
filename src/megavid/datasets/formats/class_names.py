"""Check the class names of data sets."""

from __future__ import annotations

from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.regular_files import read_text
from megavid.core.ranges import MOST_CLASSES


def class_name(value: object) -> str | None:
    """Convert a value from a JSON or YAML file to a class name; return None if it cannot be one.

    Integers are accepted, since names that consist of digits are often written without quotes.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() and "\0" not in value else None


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a file with one class name per line, as label tools write it.

    Raises:
        InputError: The file cannot be read, has an empty line before the last name, names a class twice, or
            names too many classes.
    """
    names = tuple(line.strip() for line in read_text(path).rstrip().splitlines())
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{path}: expected one class name per line, each once")
    check_class_count(len(names), origin=path)
    return names


def check_class_count(count: int, *, origin: object) -> None:
    """Check that a data set has at most `MOST_CLASSES` classes.

    Raises:
        InputError: `count` is larger; the message names `origin`.
    """
    if count > MOST_CLASSES:
        raise InputError(f"{origin}: expected at most {MOST_CLASSES} classes, got {count}")
