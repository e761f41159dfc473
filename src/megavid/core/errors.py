"""The error that is raised for every mistake of a user."""

from __future__ import annotations

from megavid.core.text import printable

LONGEST_MESSAGE = 400
"""Maximum length of an error message, in characters, so that a name from a broken file does not fill the
screen."""

_END = 100
"""Number of characters that are kept at the end of a long message, where the reason usually stands."""


class InputError(ValueError):
    """An invalid file, key or value that the user gave.

    The message is one line that names the place, what was expected and what was found. The command line
    prints it without a traceback and exits with code 2.

    Args:
        message: Text of the message. Unprintable characters are escaped, and a long text is shortened in the
            middle.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST_MESSAGE:
            end = printable(message[-_END:], limit=LONGEST_MESSAGE // 2)
            message = f"{printable(message, limit=LONGEST_MESSAGE - len(end) - 1)} {end}"
        super().__init__(printable(message, limit=LONGEST_MESSAGE))

    def without(self, place: object) -> str:
        """Return the message without "PLACE: " at its start, where PLACE is the text of `place`."""
        return str(self).removeprefix(f"{place}: ")
