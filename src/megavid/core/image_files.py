"""Which files are images, and their order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of images, in any case."""


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Those of the paths that are images by their suffix and not hidden, in natural order: 2 before 10."""
    images = (path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted((path for path in images if path.is_file()), key=_natural)


def _natural(path: Path) -> tuple[list[list[str | int]], str]:
    # Splitting at runs of digits puts text at even places and numbers at odd ones, so like meets like.
    parts = [re.split(r"([0-9]+)", part) for part in path.parts]
    return [[int(t) if i % 2 else t.lower() for i, t in enumerate(part)] for part in parts], str(path)
