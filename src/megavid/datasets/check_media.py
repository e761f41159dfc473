"""Find images and videos that are missing or broken, or whose size differs from the annotated size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from megavid.core.machine.cores import usable_cores
from megavid.datasets.frame_reader import FrameError, FrameReader, missing_in_video, open_source
from megavid.datasets.sizes import describe_sizes
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problem

_QUEUE_LENGTH = 4096
"""Number of images that are submitted to the threads at a time."""


class MediaCheck:
    """Checks every image and every video file of a data set once.

    Images are decoded completely, on as many threads as there are cores. The frames of each video file are
    counted, and its first frame is decoded.

    Args:
        annotations: The data set.
        progress: Called with the number of images and videos checked so far, and their total.

    Attributes:
        sizes: int (F, 2), width and height of each frame as annotated. `problems` replaces unknown sizes
            (0, 0) by those of the images and videos that can be read.
    """

    def __init__(self, annotations: Annotations, progress: Callable[[int, int], None]) -> None:
        a = annotations
        self.sizes: NDArray[np.int64] = np.stack((a.width, a.height), axis=1).astype(np.int64)
        self._annotations = a
        self._frames = FrameReader(a)
        self._progress = progress
        self._done = 0
        is_file = np.array([bool(source) for source in a.sources], np.bool_)
        self._sources = np.flatnonzero(is_file).tolist()
        self._rows = np.flatnonzero(~is_file[a.video]).tolist() if len(a) else []

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of video files, and then those of images.

        All missing images of a video are reported as one problem.
        """
        for video in self._sources:
            yield from self._check_source(video)
            self._advance()
        checked = self._check_images()
        for _, rows in groupby(checked, key=lambda result: self._annotations.video[result[0]]):
            of_video = [problem for _, problem in rows if problem is not None]
            yield from _joined([problem for problem in of_video if problem.kind == Kind.NO_IMAGE])
            yield from (problem for problem in of_video if problem.kind != Kind.NO_IMAGE)

    def _advance(self) -> None:
        self._done += 1
        self._progress(self._done, len(self._sources) + len(self._rows))

    def _check_source(self, video: int) -> Iterator[Problem]:
        a = self._annotations
        span = a.frames_of(video)
        try:
            with open_source(a, video) as file:
                size, length = (file.width, file.height), len(file)
        except FrameError as error:
            yield error.problem
            return
        if span.stop > span.start and a.number[span.stop - 1] >= length:
            yield missing_in_video(a, span.stop - 1, length)
        annotated = np.unique(self.sizes[span], axis=0)
        for other in annotated[(annotated > 0).all(axis=1) & (annotated != size).any(axis=1)].tolist():
            message = describe_sizes((other[0], other[1]), size)
            yield Problem(Kind.IMAGE_SIZE, str(file.path), message)
        self.sizes[span][(self.sizes[span] == 0).any(axis=1)] = size

    def _check_images(self) -> Iterator[tuple[int, Problem | None]]:
        """Yield the row of each image and the image's problem, or None if it has none."""
        # Threads are enough, since Pillow's decoders release the interpreter lock.
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(self._rows), _QUEUE_LENGTH):
                rows = self._rows[start : start + _QUEUE_LENGTH]
                for row, problem in zip(rows, pool.map(self._check_image, rows), strict=True):
                    yield row, problem
                    self._advance()

    def _check_image(self, row: int) -> Problem | None:
        try:
            image = self._frames.read(row)
        except FrameError as error:
            return error.problem
        size = (image.shape[1], image.shape[0])
        annotated = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        if not all(annotated):
            self.sizes[row] = size
        elif size != annotated:
            message = describe_sizes(annotated, size)
            return Problem(Kind.IMAGE_SIZE, self._annotations.describe(row), message)
        return None


def _joined(missing: Sequence[Problem]) -> Iterator[Problem]:
    """Join the missing images of a video into one problem."""
    if len(missing) < 2:
        yield from missing
        return
    first = missing[0]
    message = f"{first.message}; {len(missing) - 1} more images of the video are missing"
    yield Problem(Kind.NO_IMAGE, first.where, message)
