"""Test whether paths exist that come from users or data.

A path that is too long, contains zero bytes, or may not be accessed does not exist; it is not an error.
"""

from __future__ import annotations

from pathlib import Path


def exists(path: Path) -> bool:
    """Return whether a path exists."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Return whether a path is an existing file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return whether a path is an existing folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
