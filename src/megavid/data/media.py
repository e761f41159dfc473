"""Finding the frames that belong to annotations which don't say where they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from megavid.core.images import image_files

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")


@dataclass(frozen=True)
class Media:
    """The frames of a video.

    Attributes:
        source: The video's file, relative to the root; "" if it is none.
        files: Image files relative to the root, in order.
    """

    source: str = ""
    files: tuple[str, ...] = ()


def find_media(root: Path, name: str) -> Media:
    """A video of this name in a folder, or a folder of images of this name or called `images`; or nothing."""
    for path in sorted(root.glob("*")):
        if path.stem == name and path.suffix.lower() in VIDEOS:
            return Media(source=path.name)
    for folder in (root / name, root / "images" / name, root / "images"):
        files = image_files(folder.iterdir()) if folder.is_dir() else []
        if files:
            return Media(files=tuple(file.relative_to(root).as_posix() for file in files))
    return Media()
