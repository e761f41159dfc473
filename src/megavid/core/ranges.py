"""Check numbers that a user gives against limits."""

from __future__ import annotations

from megavid.core.errors import InputError

INT64 = range(-(1 << 63), 1 << 63)
"""Whole numbers of 64 bits, as tables keep them."""

LARGEST_EXACT = 2**53
"""The largest whole number up to which floating-point numbers have all of them."""

MOST_CLASSES = 100_000
"""The most classes of a data set or a detector. The largest public sets for detection have 22,000."""

MOST_SEED = 2**63 - 1
"""The largest seed: 64 bits, one of them for the sign, as generators take it."""

MOST_WORKERS = 256
"""The most processes of a kind: each takes a hundred megabytes and more."""

MOST_THREADS = 1024
"""As many as any machine has cores; where too many cannot be started, PyTorch ends the process."""

MOST_STEPS = 10**8
"""The most training steps: at a hundred a second they take twelve days."""

MOST_TRAINING_BATCH = 2**16
"""The most clips a training step: the numbers of all of them are listed."""

MOST_BATCH = 1024
"""The most frames that go through a network together: more are not faster, and all of them are in memory."""


def check_range(name: str, value: int | None, *, least: int, most: int) -> None:
    """Check a whole number that was given.

    Args:
        name: How the user gives it, such as "--seed".
        value: The number; None was not given.
        least, most: The least and the greatest that make sense.

    Raises:
        InputError: It is less or more.
    """
    if value is not None and value < least:
        raise InputError(f"{name}: expected at least {least}, got {value}")
    if value is not None and value > most:
        raise InputError(f"{name}: expected at most {most}, got {value}")


def check_share(name: str, value: float | None) -> None:
    """Check a number between 0 and 1, such as a score.

    Args:
        name: How the user gives it.
        value: The number; None was not given.

    Raises:
        InputError: It is less or more, or no number.
    """
    if value is not None and not 0 <= value <= 1:  # NaN neither
        raise InputError(f"{name}: expected a number between 0 and 1, got {value:g}")


def check_seed(value: int) -> None:
    """Check the option `--seed`.

    Raises:
        InputError: It is negative or takes more than 64 bits.
    """
    check_range("--seed", value, least=0, most=MOST_SEED)
