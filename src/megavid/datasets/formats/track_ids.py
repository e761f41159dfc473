"""Numbers for tracks whose ids are none."""

from __future__ import annotations

_OTHERS = 1 << 32
"""Ids that are no whole numbers below this one are numbered from here, so that they meet none that is."""

_DIGITS = 18
"""Of an id that is read as a number, leading zeros among them; Python reads no numbers of any length."""


def track_id(text: str, others: dict[str, int]) -> int:
    """A track's number by its id.

    Args:
        text: The id.
        others: Those of the same video that are no numbers, by their order; a new one is added.
    """
    if text.isdecimal() and len(text) <= _DIGITS and int(text) < _OTHERS:
        return int(text)
    return others.setdefault(text, _OTHERS + len(others))
