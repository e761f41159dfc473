"""Look at paths whose names come from users or data.

Such a name may be too long for any file system, hold zero bytes, or lead where nobody may look: then there is
nothing to be seen, and no error.
"""

from __future__ import annotations

from pathlib import Path


def exists(path: Path) -> bool:
    """Whether anything is there that can be seen."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a file is there that can be seen."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there that can be seen."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
