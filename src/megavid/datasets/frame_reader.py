"""Read the pixels of annotated frames from the images and video files of a data set."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Self

from megavid.core.errors import InputError
from megavid.core.files.paths import exists
from megavid.core.frames import Image
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problem
from megavid.video.images import image_size, read_image
from megavid.video.probe import probe_video
from megavid.video.video_file import VideoFile


class FrameError(InputError):
    """An annotated frame, or its whole video, cannot be read.

    Attributes:
        problem: The error as a `Problem`, for callers that go on without the frame.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[type[FrameError], tuple[Problem]]:
        return FrameError, (self.problem,)  # by default, it would be rebuilt from its message


class FrameReader:
    """Reads annotated frames in any order from images or video files.

    Several threads may read images at the same time, but not frames of video files.

    Args:
        annotations: The data set.
        open_videos: Number of video files to keep open: those that were used most recently.
    """

    def __init__(self, annotations: Annotations, *, open_videos: int = 8) -> None:
        self._annotations = annotations
        self._open_videos = open_videos
        self._videos: OrderedDict[int, VideoFile] = OrderedDict()

    def read(self, frame: int) -> Image:
        """Read one frame.

        Args:
            frame: Row of the frame in the annotations.

        Returns:
            RGB uint8 (H, W, 3), as displayed.

        Raises:
            FrameError: The frame cannot be read.
        """
        a = self._annotations
        if not a.sources[a.video[frame]]:
            path = image_path(a, frame)
            try:
                return read_image(path)
            except InputError as error:
                raise _unreadable(path, error) from error
        video = self._video(int(a.video[frame]))
        number = int(a.number[frame])
        if number >= len(video):
            raise FrameError(missing_in_video(a, frame, len(video)))
        try:
            return video[number]
        except InputError as error:
            raise _unreadable(video.path, error) from error

    def close(self) -> None:
        """Close all video files; a later `read` opens them again."""
        while self._videos:
            self._videos.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _video(self, video: int) -> VideoFile:
        if video not in self._videos:
            self._videos[video] = open_source(self._annotations, video)
            if len(self._videos) > self._open_videos:
                self._videos.popitem(last=False)[1].close()
        self._videos.move_to_end(video)
        return self._videos[video]


def read_frame(annotations: Annotations, frame: int) -> Image:
    """Read one frame of a data set as `FrameReader.read` does, and open its video only for this frame."""
    with FrameReader(annotations) as reader:
        return reader.read(frame)


def frame_size(annotations: Annotations, frame: int) -> tuple[int, int]:
    """Read the width and height of a frame as displayed, without decoding the image.

    The size of a frame in a video file is that of the video's first frame.

    Raises:
        FrameError: The image or video cannot be read.
    """
    a = annotations
    source = a.sources[a.video[frame]]
    path = a.root / source if source else image_path(a, frame)
    try:
        if not source:
            return image_size(path)
        info = probe_video(path)
    except InputError as error:
        raise _unreadable(path, error) from error
    return info.width, info.height


def open_source(annotations: Annotations, video: int) -> VideoFile:
    """Open the file of a video whose frames are not images.

    Raises:
        FrameError: The file cannot be read as a video.
    """
    path = annotations.root / annotations.sources[video]
    try:
        return VideoFile(path)
    except InputError as error:
        raise _unreadable(path, error) from error


def image_path(annotations: Annotations, frame: int) -> Path:
    """Return the path of a frame's image.

    Raises:
        FrameError: The annotations name no image.
    """
    file = annotations.files[frame].as_py()
    if file is None:
        raise FrameError(Problem(Kind.NO_IMAGE, annotations.describe(frame), "no image belongs to it"))
    return annotations.root / str(file)


def missing_in_video(annotations: Annotations, frame: int, length: int) -> Problem:
    """Describe an annotated frame whose number is beyond the end of its video file."""
    return Problem(Kind.NO_FRAME, annotations.describe(frame), f"the video has {length} frames")


def _unreadable(path: Path, error: InputError) -> FrameError:
    kind = Kind.BAD_IMAGE if exists(path) else Kind.NO_IMAGE
    return FrameError(Problem(kind, str(path), error.without(path)))
