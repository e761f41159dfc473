"""Find the frames, sizes and files of the videos in a predictions file, from the file or from the videos."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import inside
from megavid.datasets.find_media import describe_missing, find_media, images_in, names_to_find
from megavid.datasets.formats.limits import MOST_FRAMES
from megavid.datasets.match_frames import number_files
from megavid.evaluation.formats.parquet_columns import FrameColumns
from megavid.evaluation.formats.video_info import frame_numbers, read_video_info
from megavid.evaluation.predicted_annotations import PredictedVideo
from megavid.evaluation.prediction_table import PredictionTable
from megavid.video.decode import DEFAULT_RATE
from megavid.video.image_folder import ImageFolder
from megavid.video.suffixes import is_image_name, is_video_name
from megavid.video.video_file import VideoFile


@dataclass(frozen=True, kw_only=True)
class _Media:
    """A video that was found, and what is known of it without decoding its frames.

    Attributes:
        path: The video file or the folder of its images, for messages.
        source: The video file, relative to `media_root`; "" for images.
        files: Images in natural order, relative to `media_root`; empty for a video file.
        length: Number of frames.
        size: Width and height of the frames, pixels.
    """

    path: Path
    source: str
    files: Sequence[str]
    length: int
    size: tuple[int, int]


def describe_videos(
    predictions: PredictionTable, columns: FrameColumns, path: Path | None, *, every: int
) -> list[PredictedVideo]:
    """Describe each video of a predictions file.

    Frames and sizes come from the metadata of the file or, if the file is of an early version and lacks them,
    from the videos. The images of a folder are numbered in natural order, as in `megavid detect`, or by the
    numbers in their names, as in many data sets; the names of images in the predictions decide which.

    Args:
        predictions: The content of the file.
        columns: Other columns of the file.
        path: The video file or folder of images; or a folder that contains the videos by their names. None
            if the videos are not needed.
        every: Keep every n-th of the frames that the detector ran on.

    Raises:
        InputError: A video has no frames, cannot be found or opened, or does not fit the predictions; the
            numbers of its frames are unknown; or there are too many frames in all.
    """
    p = predictions
    names = list(dict.fromkeys([*(p.lengths or ()), *p.videos]))
    if not names:
        raise InputError(f"{p.origin}: expected predictions of a video, got no frames")
    found, frames = [], 0
    for name, wanted in names_to_find(names).items():
        media = None if path is None else _open_media(path, name, wanted, only=len(names) == 1)
        rows = np.flatnonzero(p.video == (p.videos.index(name) if name in p.videos else -1))
        numbers = _frame_numbers(p, name, media)
        frames += len(numbers)
        if frames > MOST_FRAMES:
            raise InputError(f"{p.origin}: expected at most {MOST_FRAMES} frames in all videos, got more")
        images = dict(zip(p.frame[rows].tolist(), columns.files.take(rows).to_pylist(), strict=True))
        files = _image_names(images, numbers.tolist(), media)
        named = name if is_video_name(name) and not any(files) else ""
        found.append(
            PredictedVideo(
                name=name,
                numbers=numbers[::every],
                files=files[::every],
                source=named if media is None else media.source,
                size=_size(p, name, media),
            )
        )
    return found


def media_root(path: Path) -> Path:
    """Return the folder that the files in the result of `describe_videos` are relative to."""
    return (path if path.is_dir() else path.parent).absolute()


def _open_media(path: Path, name: str, wanted: Sequence[str], *, only: bool) -> _Media:
    """Find a video and read its length and size.

    Args:
        path: The video file or folder of images; or a folder that contains the video by its name.
        name: Name of the video in the predictions.
        wanted: Names that the video may have in the folder.
        only: Whether the predictions are of this video only, so that `path` may be the video itself.
    """
    root = media_root(path)
    places = images_in(path) if only else []
    if path.is_dir() and not places:
        inside(path, name)  # the name is from a file, and must not lead out of the folder
        media = find_media(root, wanted, root=root, only=False)
        if not media.source and not media.files:
            raise InputError(f"--video: {path}: video {name!r}: {describe_missing(path, wanted)}")
        places = [root / file for file in (media.files or (media.source,))]
    elif not path.is_dir() and not only:
        raise InputError(f"--video: {path}: expected a folder, since there are several videos, got a file")
    places = places or [path]
    relative = [PurePath(os.path.relpath(place.absolute(), root)).as_posix() for place in places]
    if is_image_name(places[0]):
        images = ImageFolder(places, name=name, rate=DEFAULT_RATE)
        folder, size = places[0].parent, (images.width, images.height)
        return _Media(path=folder, source="", files=relative, length=len(images), size=size)
    with closing(VideoFile(places[0])) as video:
        size = (video.width, video.height)
        return _Media(path=places[0], source=relative[0], files=(), length=len(video), size=size)


def _frame_numbers(p: PredictionTable, name: str, media: _Media | None) -> NDArray[np.int64]:
    """Return the numbers of the frames of a video that the detector ran on."""
    if (
        p.lengths is None
        and media is None
        and read_video_info(p.metadata, name, origin=p.origin).frames is None
    ):
        raise InputError(f"{p.origin}: does not say which frames video {name!r} has; --video gives the video")
    numbers = frame_numbers(p, name, known=None if media is None else np.arange(media.length))
    if len(numbers) and media is not None and media.source and numbers[-1] >= media.length:
        message = f"has {media.length} frames, but the predictions of {name!r} have frame {numbers[-1]}"
        raise InputError(f"{media.path}: {message}")
    return numbers


def _image_names(
    images: Mapping[int, str | None], numbers: Sequence[int], media: _Media | None
) -> list[str | None]:
    """Return the image of each frame.

    Args:
        images: The name of the image of each frame with boxes, according to the predictions.
        numbers: Numbers of the frames.
        media: The video, whose images must have these names; None if it is not given.
    """
    if media is None:
        return [images.get(number) for number in numbers]
    if not media.files:
        return [None] * len(numbers)
    orders = [dict(enumerate(media.files))]
    with suppress(InputError):
        orders.append(number_files(media.files, where=media.path).files)
    for files in orders:
        if all(number in files and _is_called(files[number], images.get(number)) for number in numbers):
            return [files[number] for number in numbers]
    number = next(n for n in numbers if not (n in orders[0] and _is_called(orders[0][n], images.get(n))))
    expected = PurePath(images.get(number) or "an image").name
    raise InputError(
        f"{media.path}: expected {expected} as frame {number}, as in its predictions, got "
        f"{PurePath(orders[0].get(number, 'none')).name}"
    )


def _is_called(file: str, expected: str | None) -> bool:
    return expected is None or PurePath(file).name == PurePath(expected).name


def _size(p: PredictionTable, name: str, media: _Media | None) -> tuple[int, int]:
    """Return the width and height of a video's frames, (0, 0) if unknown; check that both sources agree."""
    size = read_video_info(p.metadata, name, origin=p.origin).size
    if media is not None and size is not None and size != media.size:
        got = f"{media.size[0]}x{media.size[1]}"
        raise InputError(
            f"{media.path}: expected frames of {size[0]}x{size[1]}, as in its predictions, got {got}"
        )
    return size or (media.size if media else (0, 0))
