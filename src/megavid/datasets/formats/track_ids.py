"""Assign integer ids to tracks whose ids are not integers."""

from __future__ import annotations

_FIRST_ASSIGNED = 1 << 32
"""First integer that replaces an id. Only smaller integers are kept as ids, so that no two ids collide."""

_DIGITS = 18
"""Largest number of digits in an id that is parsed as an integer."""


def track_id(text: str, others: dict[str, int]) -> int:
    """Return the integer id of a track.

    Args:
        text: Id of the track in the file.
        others: Integers assigned so far to other ids in the same video; a new one may be added.
    """
    if text.isdecimal() and len(text) <= _DIGITS and int(text) < _FIRST_ASSIGNED:
        return int(text)
    return others.setdefault(text, _FIRST_ASSIGNED + len(others))
