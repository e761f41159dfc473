"""Find images in the folders of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from megavid.core.errors import InputError
from megavid.video.suffixes import is_image_name

MOST_FOLDERS = 1_000_000
"""Largest number of folders in a data set's folder; a folder with more is probably a whole disk."""


def absolute(path: Path) -> Path:
    """Make a path absolute; keep links unless it has `..`, since labels are found by the image's path."""
    path = path.absolute()
    return Path(os.path.realpath(path)) if ".." in path.parts else path  # realpath accepts loops of links


def find_images(folder: Path) -> Iterator[Path]:
    """Find files with the suffix of an image in a folder and its subfolders, in no particular order.

    Links to folders are not followed.

    Raises:
        InputError: A folder cannot be read, there are more than `MOST_FOLDERS` folders, or `folder` is the
            root of the file system.
    """
    if folder == Path(folder.anchor):
        raise InputError(f"{folder}: expected a data set, got the root of the file system")
    for number, (inner, _, names) in enumerate(os.walk(folder, onerror=_refuse)):
        if number == MOST_FOLDERS:
            raise InputError(f"{folder}: expected a data set, got more than {MOST_FOLDERS} folders")
        yield from (Path(inner, name) for name in names if is_image_name(name))


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error
