"""The one error that a user's mistake raises."""


class InputError(ValueError):
    """A mistake in what the user gave: a file, a key or a value.

    The message names the thing and what was expected, on one line. The command line prints it
    without a traceback and exits with code 2.
    """
