"""Read regular files whose names come from users or data, up to a maximum size."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NoReturn

from megavid.core.errors import InputError

GIB = 1 << 30

LARGEST_TEXT = 4 * GIB
"""Maximum size of a text file, in bytes. The JSON file of a data set with ten million boxes has less than two
GiB."""


def check_regular_file(path: Path) -> None:
    """Check that a path leads to a regular file, and not to a pipe or device, which may never end.

    Raises:
        InputError: The path leads to something else, or does not exist.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        _refuse_unreadable(path, error)
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: expected a file, got a folder")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: expected a regular file, got a pipe, a socket or a device")


def read_bytes(path: Path, *, limit: int = LARGEST_TEXT) -> bytes:
    """Read a whole file.

    Args:
        path: The file.
        limit: Largest accepted size, in bytes.

    Raises:
        InputError: The file is missing, not a regular file, too large, or cannot be read.
    """
    check_regular_file(path)
    try:
        size = path.stat().st_size
        if size <= limit:
            return path.read_bytes()
    except OSError as error:
        _refuse_unreadable(path, error)
    raise InputError(f"{path}: expected at most {limit} bytes, got {size}")


def read_text(path: Path, *, limit: int = LARGEST_TEXT) -> str:
    """Read a whole text file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: The file is missing, not a regular file, too large, not UTF-8, or cannot be read.
    """
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8: {error}") from error


def _refuse_unreadable(path: Path, error: OSError | ValueError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise InputError(f"{path}: no such file") from error
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise InputError(f"{path}: cannot be read: {reason}") from error
