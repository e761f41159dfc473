"""Check single values of JSON and YAML files that other programs wrote."""

from __future__ import annotations

import math
import reprlib
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.parsing import read_text
from megavid.core.ranges import INT64, MOST_CLASSES


def whole_number(value: object) -> int | None:
    """Take a whole number of 64 bits, also one written as 3.0; None for anything else.

    Text, truth values, and numbers with a fraction are no whole numbers.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value in INT64 else None


def finite_number(value: object) -> float | None:
    """Take a finite number; None for anything else, text and truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def flag(value: object) -> bool | None:
    """Take a truth value, also as 0 or 1; nothing at all is False, and None comes back for anything else."""
    if value is None:
        return False
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def class_name(value: object) -> str | None:
    """Take the name of a class: text, or a whole number, which names digits; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() and "\0" not in value else None


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a file with a class in each line, as label tools write it.

    Raises:
        InputError: It cannot be read, or a line but the last ones has no name, or one that was there before.
    """
    names = tuple(line.strip() for line in read_text(path).rstrip().splitlines())
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{path}: expected a name of a class in each line, each once")
    check_class_count(len(names), origin=path)
    return names


def check_class_count(count: int, *, origin: object) -> None:
    """Check that there are not too many classes.

    Raises:
        InputError: There are more than `MOST_CLASSES`.
    """
    if count > MOST_CLASSES:
        raise InputError(f"{origin}: expected at most {MOST_CLASSES} classes, got {count}")


def shown(value: object) -> str:
    """Show a value in a message, shortened."""
    return reprlib.repr(value)
