"""Make text from files and users safe to print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath


def printable(text: str, *, limit: int = 120) -> str:
    r"""Put text on one line, without characters that a terminal interprets.

    Line breaks and tabs become spaces. Other characters that cannot be printed (control characters, escape
    codes, marks that change the direction of writing, lone surrogates) become escapes such as `\x1b`.

    Args:
        text: Any text, such as the name of a class.
        limit: Maximum length of the result; longer text is cut and ends in "...".

    Examples:
        >>> printable("fox\x1b[31m\nred")
        'fox\\x1b[31m red'
    """
    cut = text[: limit + 1]
    safe = "".join(map(_safe, cut))
    return safe if len(text) <= limit and len(safe) <= limit else f"{safe[: limit - 3]}..."


def listed(names: Sequence[str], *, most: int = 20) -> str:
    """Join the first `most` names with commas for a message, and count the others.

    Examples:
        >>> listed(["fox", "badger", "boar"], most=2)
        'fox, badger and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def natural_key(path: PurePath) -> tuple[list[list[str | int]], str]:
    """Return the key by which paths are sorted in natural order: 2.png before 10.png."""
    # re.split alternates between text and digits, so text is always compared with text.
    parts = [re.split(r"([0-9]+)", part) for part in path.parts]
    return [[int(t) if i % 2 else t.lower() for i, t in enumerate(part)] for part in parts], str(path)


def _safe(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()
