"""Assign integer ids to tracks whose ids are not integers."""

from __future__ import annotations

_FIRST_ASSIGNED = 1 << 32
"""First id that is assigned to a text id. Integer ids below it are kept, so assigned ids never collide."""

_DIGITS = 18
"""Most digits of an id that is parsed as an integer."""


def track_id(text: str, others: dict[str, int]) -> int:
    """Return the integer id of a track.

    Args:
        text: Id of the track in the file.
        others: Ids assigned so far in the same video, to which a new one may be added.
    """
    if text.isdecimal() and len(text) <= _DIGITS and int(text) < _FIRST_ASSIGNED:
        return int(text)
    return others.setdefault(text, _FIRST_ASSIGNED + len(others))
