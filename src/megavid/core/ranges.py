"""Check that numbers from users are within limits."""

from __future__ import annotations

from megavid.core.errors import InputError

INT64 = range(-(1 << 63), 1 << 63)
"""Range of the integers that tables can store."""

LARGEST_EXACT = 2**53
"""Largest integer up to which float64 represents every integer exactly."""

MOST_CLASSES = 100_000
"""Maximum number of classes of a data set or a detector. The largest public detection data sets have 22,000
classes."""

MOST_SEED = 2**63 - 1
"""Largest seed that random generators accept: the largest signed integer of 64 bits."""

MOST_WORKERS = 256
"""Maximum number of worker processes. Each takes at least a hundred megabytes."""

MOST_THREADS = 1024
"""Maximum number of threads. PyTorch ends the process if it cannot start as many threads as requested."""

MOST_STEPS = 10**8
"""Maximum number of training steps. At a hundred steps per second, this many take twelve days."""

MOST_TRAINING_BATCH = 2**16
"""Maximum number of clips per training step. The numbers of all clips of a step are stored in a list."""

MOST_BATCH = 1024
"""Maximum number of frames in a batch. Larger batches are not faster, and all frames of a batch are in memory
at the same time."""

MOST_STRIDE = 2**31 - 1
"""Largest distance from one detected frame to the next: more than a year of video."""


def check_range(name: str, value: int | None, *, least: int, most: int) -> None:
    """Check that an integer is in a range.

    Args:
        name: Name of the number for messages, such as "--seed".
        value: The number; None is accepted.
        least: Smallest allowed value.
        most: Largest allowed value.

    Raises:
        InputError: The number is out of range.
    """
    if value is not None and value < least:
        raise InputError(f"{name}: expected at least {least}, got {value}")
    if value is not None and value > most:
        raise InputError(f"{name}: expected at most {most}, got {value}")


def check_share(name: str, value: float | None) -> None:
    """Check that a number, such as a score, is between 0 and 1.

    Args:
        name: Name of the number for messages.
        value: The number; None is accepted.

    Raises:
        InputError: The number is out of range or NaN.
    """
    if value is not None and not 0 <= value <= 1:  # the condition is also true for NaN
        raise InputError(f"{name}: expected a number between 0 and 1, got {value:g}")


def check_seed(value: int) -> None:
    """Check the option `--seed`.

    Raises:
        InputError: The seed is negative or larger than `MOST_SEED`.
    """
    check_range("--seed", value, least=0, most=MOST_SEED)
