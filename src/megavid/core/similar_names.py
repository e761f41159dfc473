"""Find names that are probably meant to be the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

_GAPS = re.compile(r"[\s_-]+")


def similar_name(name: str, names: Iterable[str]) -> str | None:
    """Find the name that differs from another by case, blanks, hyphens or underscores only.

    Returns:
        The first such name; None if there is none.

    Examples:
        >>> similar_name("Traffic light ", ["car", "traffic_light"])
        'traffic_light'
    """
    wanted = _plain(name)
    return next((other for other in names if other != name and _plain(other) == wanted), None)


def similar_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Find the names that differ from an earlier one by case, blanks, hyphens or underscores only.

    Returns:
        Each such name with the first one that it is like.
    """
    first: dict[str, str] = {}
    return [(name, other) for name in names if (other := first.setdefault(_plain(name), name)) != name]


def hint_similar(name: str, names: Iterable[str]) -> str:
    """Point out a name that is perhaps meant, as the end of a message; empty if there is none."""
    other = similar_name(name, names)
    return "" if other is None else f"; {other!r} differs by case or blanks only: names must be the same"


def _plain(name: str) -> str:
    return _GAPS.sub("", name).casefold()
