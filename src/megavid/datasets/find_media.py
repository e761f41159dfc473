"""Finding the frames that belong to annotations which don't say where they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath

from megavid.core.errors import InputError
from megavid.core.files.paths import is_folder
from megavid.core.text import listed
from megavid.video.suffixes import image_files, is_video_name


@dataclass(frozen=True)
class Media:
    """The frames of a video.

    Attributes:
        source: The video's file, relative to the root; "" if it is none.
        files: Image files relative to the root, in order.
    """

    source: str = ""
    files: tuple[str, ...] = ()


def find_media(folder: Path, names: Sequence[str], *, root: Path, only: bool) -> Media:
    """Find a video or a folder of images by its name.

    In this order: a video of one of the names; a folder of images of one of the names, also in `images`; and
    if there is only one video to find, the images in `images`.

    Args:
        folder: Where to look.
        names: Names of the video, with or without a suffix, the best first.
        root: The folder that the result is relative to.
        only: Whether no other video is looked for there.

    Raises:
        InputError: There are several videos of a name.
    """
    videos = _videos(folder)
    for name in names:
        found = [path for path in videos if path.stem == _stem(name)]
        found = [path for path in found if path.name in names] or found
        if len(found) > 1:
            there = listed([path.name for path in found])
            raise InputError(f"{folder}: expected one video called {_stem(name)}, got {there}")
        if found:
            return Media(source=_relative(found[0], root))
    places = [top / _stem(name) for name in names for top in (folder, folder / "images")]
    for images in [*places, *([folder / "images"] if only else [])]:
        files = images_in(images)
        if files:
            return Media(files=tuple(_relative(file, root) for file in files))
    return Media()


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order; none if there is no such folder.

    Raises:
        InputError: The folder cannot be read.
    """
    if not is_folder(folder):
        return []
    try:
        return image_files(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error


def find_only_video(folder: Path, *, root: Path) -> Media:
    """Find the video of a folder that has just one, whatever it is called; else nothing."""
    videos = _videos(folder)
    return Media(source=_relative(videos[0], root)) if len(videos) == 1 else Media()


def describe_missing(folder: Path, names: Sequence[str]) -> str:
    """Say what `find_media` looked for in vain, and what is there instead."""
    there = sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))
    wanted = " or ".join(dict.fromkeys(_stem(name) for name in names))
    return (
        f"no images found: expected a video or a folder of images called {wanted} in {folder}, "
        f"which has {listed(there, most=5) or 'nothing'}"
    )


def base_name(path: str) -> str:
    """Return the last part of a path as another computer wrote it, with slashes or backslashes."""
    name = PureWindowsPath(path.strip()).name
    return "" if name == ".." else name


def _videos(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
    return [path for path in paths if is_video_name(path) and path.is_file()]


def _stem(name: str) -> str:
    """The name without a suffix of videos."""
    return PurePath(name).stem if is_video_name(name) else name


def _relative(path: Path, root: Path) -> str:
    return PurePath(os.path.relpath(path, root)).as_posix()
