"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from megavid.core.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that say that the place written to takes no more."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path to write to instead of `path`, which takes its place once all is well.

    The temporary file lies in the same folder, hidden, and has the same suffix. If the block raises, it is
    removed and what was at `path` before stays.

    Raises:
        InputError: The file cannot be made there: no such folder, no permission, no space.

    Examples:
        >>> with atomic_path(Path("results.json")) as temporary:
        ...     temporary.write_text("{}")
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        if path.is_dir():
            raise InputError(f"{path}: expected a file to write, this is a folder")
        temporary.touch()  # fails now, not after hours of work
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield temporary
        try:
            temporary.replace(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def inside(folder: Path, relative: str) -> Path:
    """Return the path of a file within a folder whose name comes from data.

    Args:
        folder: The folder.
        relative: The file's name, with folders separated by `/`.

    Raises:
        InputError: The name leads out of the folder, or is none that a file can have.
    """
    parts = PurePosixPath(relative).parts
    if not parts or parts[0].startswith("/") or ".." in parts or "\0" in relative:
        raise InputError(f"{relative!r}: expected the name of a file within {folder}")
    return folder.joinpath(*parts)
