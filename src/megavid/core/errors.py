"""The one error that a user's mistake raises."""

from __future__ import annotations

from megavid.core.text import printable

LONGEST_MESSAGE = 400
"""Characters of an error's message: a name from a broken file must not fill the screen."""


class InputError(ValueError):
    """A mistake in what the user gave: a file, a key or a value.

    The message names the thing and what was expected, on one line. The command line prints it
    without a traceback and exits with code 2.

    Args:
        message: The message. Characters that cannot be printed are escaped, and a long one is cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, limit=LONGEST_MESSAGE))
