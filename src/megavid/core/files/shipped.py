"""Files that ship with the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[2]


def shipped_files(folder: str, suffix: str) -> dict[str, Path]:
    """Return the files in a folder of the package, sorted, by their names without the suffix.

    Args:
        folder: "configs", "recipes" or "weights".
        suffix: Suffix of the files, such as ".yaml".
    """
    return {path.stem: path for path in sorted((_PACKAGE / folder).glob(f"*{suffix}"))}
