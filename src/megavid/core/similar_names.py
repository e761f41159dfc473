"""Find names that differ only in case, spaces, hyphens or underscores, probably by mistake."""

from __future__ import annotations

import re
from collections.abc import Iterable

_GAPS = re.compile(r"[\s_-]+")


def similar_name(name: str, names: Iterable[str]) -> str | None:
    """Find the first of `names` that is similar to `name`, but not the same; None if there is none.

    Examples:
        >>> similar_name("Traffic light ", ["car", "traffic_light"])
        'traffic_light'
    """
    wanted = _plain(name)
    return next((other for other in names if other != name and _plain(other) == wanted), None)


def similar_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Find the names that are similar to an earlier name, but not the same.

    Returns:
        Pairs of such a name and the first name that it is similar to.
    """
    first: dict[str, str] = {}
    return [(name, other) for name in names if (other := first.setdefault(_plain(name), name)) != name]


def hint_similar(name: str, names: Iterable[str]) -> str:
    """Return the end of an error message that suggests a similar name; empty if there is none."""
    other = similar_name(name, names)
    return "" if other is None else f"; {other!r} differs by case or blanks only: names must be the same"


def _plain(name: str) -> str:
    return _GAPS.sub("", name).casefold()
