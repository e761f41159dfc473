"""Check single values of JSON and YAML files that other programs wrote."""

from __future__ import annotations

import math
import reprlib

from megavid.core.ranges import INT64


def whole_number(value: object) -> int | None:
    """Convert an integer of at most 64 bits, or a float such as 3.0, to int; None for anything else.

    Strings, booleans and numbers with a fraction are not converted.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value in INT64 else None


def finite_number(value: object) -> float | None:
    """Convert a finite number to float; None for anything else, strings and booleans included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def flag(value: object) -> bool | None:
    """Convert a boolean, 0 or 1 to bool, and a missing value (None) to False; None for anything else."""
    if value is None:
        return False
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def shown(value: object) -> str:
    """Format a value for a message, shortened."""
    return reprlib.repr(value)
