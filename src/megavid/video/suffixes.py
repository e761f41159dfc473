"""Recognize image and video files by their suffixes, without opening them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

from megavid.core.text import natural_key

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of image files, in lower case."""

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".m2v", ".vob"),
    *(".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".ogg", ".mxf"),
    *(".dv", ".y4m", ".nut", ".rm", ".rmvb", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg"),
    *(".gif", ".ivf", ".obu"),
)
"""Suffixes of video files, in lower case, for finding the videos in a folder. A video that is opened by its
name may have another suffix."""


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Select the image files among paths and sort them in natural order: 2.png before 10.png.

    Hidden files are left out.
    """
    images = (path for path in paths if is_image_name(path) and not path.name.startswith("."))
    return sorted((path for path in images if path.is_file()), key=natural_key)


def is_image_name(name: str | PurePath) -> bool:
    """Return whether a name or path has the suffix of an image file, in upper or lower case."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def is_video_name(name: str | PurePath) -> bool:
    """Return whether a name or path has the suffix of a video file, in upper or lower case."""
    return PurePath(name).suffix.lower() in VIDEO_SUFFIXES
