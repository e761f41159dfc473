"""Paths in data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from megavid.core.errors import InputError
from megavid.video.suffixes import is_image_name

MOST_FOLDERS = 1_000_000
"""Folders within a data set's folder. More are somebody's whole disk."""


def absolute(path: Path) -> Path:
    """Return the absolute path without `..`; other links stay, since labels are found by the path."""
    path = path.absolute()
    return Path(os.path.realpath(path)) if ".." in path.parts else path  # of a loop of links, too


def find_images(folder: Path) -> Iterator[Path]:
    """Find files with an image's suffix in a folder and those in it, in no order.

    Links to folders are not followed.

    Raises:
        InputError: A folder cannot be read, it is the root of all, or it has more than `MOST_FOLDERS`.
    """
    if folder == Path(folder.anchor):
        raise InputError(f"{folder}: expected a data set, this is the root of the file system")
    for number, (inner, _, names) in enumerate(os.walk(folder, onerror=_refuse)):
        if number == MOST_FOLDERS:
            raise InputError(f"{folder}: expected a data set, got more than {MOST_FOLDERS} folders")
        yield from (Path(inner, name) for name in names if is_image_name(name))


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error
