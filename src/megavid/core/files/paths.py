"""Test whether paths that come from users or data exist.

A path that is too long, contains a zero byte, or may not be accessed counts as not existing. It raises no
error.
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
