"""Open a whole annotated video to read its frames in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from megavid.datasets.frame_reader import FrameError, FrameReader, image_path, missing_in_video, open_source
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.video.decode import DEFAULT_RATE
from megavid.video.image_folder import ImageFolder
from megavid.video.video_file import VideoFile


@dataclass(frozen=True)
class AnnotatedVideo:
    """An opened video of a data set.

    Attributes:
        frames: All frames of the video file, or the images of the annotated frames; None if none of the
            images can be read.
        rows: For each of `frames`, the row of that frame in the annotations, or -1 if it is not annotated.
    """

    frames: ImageFolder | VideoFile | None
    rows: Sequence[int]


@contextmanager
def open_video(annotations: Annotations, video: int, *, problems: Problems) -> Iterator[AnnotatedVideo]:
    """Open the file or the images of one video.

    If `problems.skip` is set, all images are first read once to find those that cannot be used.

    Args:
        annotations: The data set.
        video: Index of the video in `annotations.videos`.
        problems: Collects annotated frames that are beyond the end of a video file, and images that cannot
            be read or differ in size from the first one.

    Raises:
        InputError: The video file cannot be opened, or an image cannot be used; or see `problems`.
    """
    span = annotations.frames_of(video)
    rows = list(range(span.start, span.stop))
    if annotations.sources[video]:
        with open_source(annotations, video) as file:
            yield AnnotatedVideo(file, _rows_in_file(annotations, rows, len(file), problems))
        return
    if problems.skip:
        rows = _usable_images(annotations, rows, problems)
    if not rows:
        yield AnnotatedVideo(None, ())
        return
    paths = [image_path(annotations, row) for row in rows]
    with ImageFolder(paths, name=annotations.videos[video], rate=DEFAULT_RATE) as images:
        yield AnnotatedVideo(images, rows)


def _rows_in_file(a: Annotations, rows: Sequence[int], length: int, problems: Problems) -> list[int]:
    places = [-1] * length
    for row in rows:
        number = int(a.number[row])
        if number < length:
            places[number] = row
        else:
            problems.add_problem(missing_in_video(a, row, length))
    return places


def _usable_images(a: Annotations, rows: Sequence[int], problems: Problems) -> list[int]:
    """Return the rows whose images can be read and have the size of the first image that can be read."""
    usable: list[int] = []
    size: tuple[int, ...] | None = None
    reader = FrameReader(a)
    for row in rows:
        try:
            image = reader.read(row)
        except FrameError as error:
            problems.add_problem(error.problem)
            continue
        size = size or image.shape
        if image.shape == size:
            usable.append(row)
        else:
            message = (
                f"expected images of one size, {size[1]}x{size[0]}, got {image.shape[1]}x{image.shape[0]}"
            )
            problems.add(Kind.MIXED_SIZES, image_path(a, row), message)
    return usable
