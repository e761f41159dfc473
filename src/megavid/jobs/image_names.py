"""Names of the images that a detection run reads and writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from megavid.video.open_input import ImageFolder, Video


def image_files(video: Video) -> list[str]:
    """Return an image folder's files, relative to their common folder; no files for other videos."""
    if not isinstance(video, ImageFolder):
        return []
    parent = os.path.commonpath([path.parent for path in video.paths])
    return [os.path.relpath(path, parent) for path in video.paths]


def image_stems(files: Sequence[str]) -> list[str]:
    """Return a different name for each annotated image: the stem of its file, numbered if stems repeat."""
    stems = [Path(file).stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{index:06d}_{stem}" for index, stem in enumerate(stems)]
