"""Open a video of any kind: a file, a folder of images, a camera or a stream."""

from __future__ import annotations

import glob
import os
from fractions import Fraction
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.text import listed
from megavid.video.decode import DEFAULT_RATE
from megavid.video.image_folder import ImageFolder
from megavid.video.image_pages import ImagePages
from megavid.video.images import count_pictures
from megavid.video.live_stream import LiveStream
from megavid.video.suffixes import IMAGE_SUFFIXES, image_files, is_image_name, is_video_name
from megavid.video.video_file import VideoFile

__all__ = ["ImageFolder", "ImagePages", "LiveStream", "Video", "VideoFile", "is_live", "open_input"]

Video = VideoFile | ImageFolder | ImagePages | LiveStream
"""An opened video of any kind."""

_LEAST_RATE, _MOST_RATE = 1e-6, 1e6
"""Allowed frames per second of images: from one frame in eleven days to one frame per microsecond."""


def open_input(spec: str | os.PathLike[str], *, fps: float | None = None) -> Video:
    """Open a video file, a folder of images, a camera or a stream.

    Args:
        spec: One of:
            - a video file that FFmpeg can read;
            - a folder of images, which are read in natural order; other files and subfolders are ignored;
            - a pattern of image files such as "clip/*.png", in which "**" matches any number of folders;
            - an image file; if it has several pictures (TIFF, animated PNG or WebP), each is a frame;
            - the number of a camera as a string, such as "0"; write "./0" for a folder with the name "0";
            - the address of a stream, which contains "://".
        fps: Frames per second of images, 25 by default; not allowed for inputs with their own frame rate.

    Raises:
        InputError: `spec` does not exist or is none of these, or `fps` is not allowed or out of range.

    Examples:
        >>> for frame in open_input("clip.mp4"):
        ...     print(frame.index, frame.time, frame.image.shape)
    """
    if not os.fspath(spec):
        raise InputError("expected a video, a folder of images, a camera or a stream, got an empty name")
    if isinstance(spec, str):
        spec = spec.removeprefix("file://")
    if isinstance(spec, str) and is_live(spec):
        _refuse_fps(fps, spec)
        return LiveStream(spec)
    path = Path(spec)
    images = _find_images(path)
    if images is not None and path.is_file() and count_pictures(path) > 1:
        pages = ImagePages(path, rate=_image_rate(fps))
        if pages.is_timed:
            _refuse_fps(fps, path)
        return pages
    if images is not None:
        name = path.absolute().name if path.exists() else str(spec)
        return ImageFolder(images, name=name, rate=_image_rate(fps))
    _refuse_fps(fps, path)
    return VideoFile(path)


def is_live(spec: str | os.PathLike[str]) -> bool:
    """Return whether an input for `open_input` is a camera or a stream; nothing is opened."""
    if not isinstance(spec, str):
        return False
    name = spec.removeprefix("file://")
    return name.isdecimal() or "://" in name


def _describe_expected(folder: Path, accepted: str) -> str:
    """Describe which input was expected in place of a folder without images."""
    videos = sorted(path.name for path in folder.iterdir() if is_video_name(path))
    if videos:
        return f"expected one of the videos in it: {listed(videos, most=5)}"
    return f"expected files ending in {accepted}"


def _find_images(path: Path) -> list[Path] | None:
    """Return the images of a folder, pattern or image file; None if the path is a video file."""
    accepted = ", ".join(IMAGE_SUFFIXES)
    try:
        if path.is_dir():
            images = image_files(path.iterdir())
            if not images:
                raise InputError(f"{path}: no images in this folder; {_describe_expected(path, accepted)}")
            return images
        if path.exists():
            return [path] if is_image_name(path) else None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not glob.has_magic(str(path)):
        raise InputError(f"{path}: no such file or folder")
    images = image_files(Path(found) for found in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not images:
        raise InputError(
            f"{path}: no such file, and no images match it as a pattern; expected files ending in {accepted}"
        )
    return images


def _image_rate(fps: float | None) -> Fraction:
    if fps is None:
        return DEFAULT_RATE
    if not _LEAST_RATE <= fps <= _MOST_RATE:  # also true for NaN
        raise InputError(f"fps: expected {_LEAST_RATE:g} to {_MOST_RATE:g} frames per second, got {fps}")
    rate = Fraction(fps).limit_denominator(1001)  # 29.97002997 is 30000/1001
    return rate or Fraction(fps)


def _refuse_fps(fps: float | None, spec: str | Path) -> None:
    if fps is not None:
        raise InputError(f"{spec}: has a frame rate of its own; fps is for images")
