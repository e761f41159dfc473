"""The one error that a user's mistake raises."""

from __future__ import annotations

from megavid.core.text import printable

LONGEST_MESSAGE = 400
"""Characters of an error's message: a name from a broken file must not fill the screen."""

_END = 100
"""Characters at the end of a long message that are kept."""


class InputError(ValueError):
    """A mistake in what the user gave: a file, a key or a value.

    The message names the thing and what was expected, on one line. The command line prints it
    without a traceback and exits with code 2.

    Args:
        message: The message. Characters that cannot be printed are escaped; of a long one the beginning and
            the end are kept, where the place and the reason are.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST_MESSAGE:
            end = printable(message[-_END:], limit=LONGEST_MESSAGE // 2)
            message = f"{printable(message, limit=LONGEST_MESSAGE - len(end) - 1)} {end}"
        super().__init__(printable(message, limit=LONGEST_MESSAGE))

    def without(self, place: object) -> str:
        """Return the message without the place that it begins with, for use beside that place."""
        return str(self).removeprefix(f"{place}: ")
