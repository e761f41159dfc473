"""Find the video file or the images of a video whose annotations do not name these files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath

from megavid.core.errors import InputError
from megavid.core.files.paths import is_folder
from megavid.core.text import listed
from megavid.video.suffixes import image_files, is_video_name


@dataclass(frozen=True)
class Media:
    """The files of a video.

    Attributes:
        source: The video file, relative to the root; "" if there is none.
        files: Image files relative to the root, in order; empty if there are none.
    """

    source: str = ""
    files: tuple[str, ...] = ()


def find_media(folder: Path, names: Sequence[str], *, root: Path, only: bool) -> Media:
    """Find the video file or the images of a video by the video's name.

    The first match is used: a video file in `folder`; then a folder of images in `folder` or in
    `folder/images`; and then, if `only` is set, the images that are directly in `folder/images`.

    Args:
        folder: The folder to search.
        names: Possible names of the video, with or without suffix, perhaps in folders that are separated by
            `/`; earlier names are preferred.
        root: The folder that the result is relative to.
        only: Whether `folder` belongs to this video alone.

    Raises:
        InputError: Several video files match a name, or a folder cannot be read.
    """
    videos: dict[Path, list[Path]] = {}
    for name in names:
        place, stem = (folder / name).parent, _stem(name).rpartition("/")[2]
        if place not in videos:
            videos[place] = _videos(place)
        found = [path for path in videos[place] if path.stem == stem]
        found = [path for path in found if path in {folder / name for name in names}] or found
        if len(found) > 1:
            names_found = listed([path.name for path in found])
            raise InputError(f"{place}: expected one video called {stem}, got {names_found}")
        if found:
            return Media(source=_relative(found[0], root))
    places = [top / _stem(name) for name in names for top in (folder, folder / "images")]
    for images in [*places, *([folder / "images"] if only else [])]:
        files = images_in(images)
        if files:
            return Media(files=tuple(_relative(file, root) for file in files))
    return Media()


def names_to_find(videos: Iterable[str]) -> dict[str, list[str]]:
    """Return the names by which `find_media` may find each video: its own, and that without its folders.

    If two videos have the same name without their folders, they are found by their whole names only.

    Args:
        videos: Names of all videos of a data set.
    """
    bases = {name: base_name(name) for name in videos}
    counts = Counter(bases.values())
    return {
        name: list(dict.fromkeys((name, base) if base and counts[base] == 1 else (name,)))
        for name, base in bases.items()
    }


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order; an empty list if the folder does not exist.

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
    """Return the video file of a folder if it has exactly one; otherwise, an empty `Media`."""
    videos = _videos(folder)
    return Media(source=_relative(videos[0], root)) if len(videos) == 1 else Media()


def describe_missing(folder: Path, names: Sequence[str]) -> str:
    """Describe what `find_media` searched for without success, and what the folder contains instead."""
    content = sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))
    wanted = " or ".join(dict.fromkeys(_stem(name) for name in names))
    return (
        f"no images found: expected a video or a folder of images called {wanted} in {folder}, "
        f"which has {listed(content, most=5) or 'nothing'}"
    )


def base_name(path: str) -> str:
    """Return the last part of a path whose parts are separated by slashes or backslashes."""
    name = PureWindowsPath(path.strip()).name
    return "" if name == ".." else name


def _videos(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
    return [path for path in paths if is_video_name(path) and path.is_file()]


def _stem(name: str) -> str:
    """Remove the suffix of a name if it is that of a video file."""
    return str(PurePath(name).with_suffix("")) if is_video_name(name) else name


def _relative(path: Path, root: Path) -> str:
    return PurePath(os.path.relpath(path, root)).as_posix()
