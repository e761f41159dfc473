"""The error that every mistake of a user raises."""

from __future__ import annotations

from megavid.core.text import printable

LONGEST_MESSAGE = 400
"""Most characters of an error message, so that a name from a broken file does not fill the screen."""

_END = 100
"""Characters at the end of a long message that are kept, since the reason is there."""


class InputError(ValueError):
    """An invalid file, key or value that the user gave.

    The message is one line that names the place, what was expected and what was found. The command line
    prints it without a traceback and exits with code 2.

    Args:
        message: The message. Characters that cannot be printed are escaped; a long message loses its middle.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST_MESSAGE:
            end = printable(message[-_END:], limit=LONGEST_MESSAGE // 2)
            message = f"{printable(message, limit=LONGEST_MESSAGE - len(end) - 1)} {end}"
        super().__init__(printable(message, limit=LONGEST_MESSAGE))

    def without(self, place: object) -> str:
        """Return the message without the place that it begins with."""
        return str(self).removeprefix(f"{place}: ")
