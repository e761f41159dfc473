"""Look for images and videos that are missing, broken or of another size than annotated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.paths import is_file, is_folder
from megavid.core.machine.cores import usable_cores
from megavid.datasets.sizes import describe_sizes
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problem
from megavid.video.images import read_image
from megavid.video.video_file import VideoFile

_AT_ONCE = 4096
"""Images that wait to be looked at."""

_Size = tuple[int, int]


class MediaCheck:
    """The pictures of a data set, looked at once.

    Images are decoded in full, on as many threads as there are cores; of videos, the first frame.

    Args:
        annotations: The data set.
        progress: Called with the number of images and videos done and that of all.

    Attributes:
        sizes: int (F, 2), width and height of each frame: as annotated; where the annotations don't say,
            those of the picture, once `problems` was gone through; 0 where it cannot be read.
    """

    def __init__(self, annotations: Annotations, progress: Callable[[int, int], None]) -> None:
        a = annotations
        self.sizes: NDArray[np.int64] = np.stack((a.width, a.height), axis=1).astype(np.int64)
        self._annotations = a
        self._files: list[str | None] = a.files.to_pylist()
        self._progress = progress
        self._done = 0
        of_file = np.array([bool(source) for source in a.sources], np.bool_)
        self._sources = np.flatnonzero(of_file).tolist()
        self._rows = np.flatnonzero(~of_file[a.video]).tolist() if len(a) else []

    def problems(self) -> Iterator[Problem]:
        """What is wrong: first with videos, then with images; all missing ones of a video are one problem."""
        for video in self._sources:
            yield from self._check_source(video)
            self._tick()
        found = self._look_at_images()
        for _, rows in groupby(found, key=lambda result: self._annotations.video[result[0]]):
            of_video = [problem for _, problem in rows if problem is not None]
            yield from _joined([problem for problem in of_video if problem.kind == Kind.NO_IMAGE])
            yield from (problem for problem in of_video if problem.kind != Kind.NO_IMAGE)

    def _tick(self) -> None:
        self._done += 1
        self._progress(self._done, len(self._sources) + len(self._rows))

    def _check_source(self, video: int) -> Iterator[Problem]:
        a = self._annotations
        path, span = a.root / a.sources[video], a.frames_of(video)
        if not is_file(path):
            yield Problem(Kind.NO_IMAGE, str(path), "no such file")
            return
        try:
            with VideoFile(path) as file:  # many containers don't declare how many frames they hold
                size, frames = (file.width, file.height), len(file)
        except InputError as error:
            yield Problem(Kind.BAD_IMAGE, str(path), error.without(path))
            return
        last = int(a.number[span].max(initial=-1))
        if frames <= last:
            yield Problem(Kind.NO_FRAME, f"{path}, frame {last}", f"the video has {frames} frames")
        annotated = np.unique(self.sizes[span], axis=0)
        for other in annotated[(annotated > 0).all(axis=1) & (annotated != size).any(axis=1)].tolist():
            yield Problem(Kind.IMAGE_SIZE, str(path), describe_sizes((other[0], other[1]), size))
        self.sizes[span][(self.sizes[span] == 0).any(axis=1)] = size

    def _look_at_images(self) -> Iterator[tuple[int, Problem | None]]:
        # The decoder lets other threads work.
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(self._rows), _AT_ONCE):
                rows = self._rows[start : start + _AT_ONCE]
                for row, problem in zip(rows, pool.map(self._check_image, rows), strict=True):
                    yield row, problem
                    self._tick()

    def _check_image(self, row: int) -> Problem | None:
        file = self._files[row]
        if file is None:
            return Problem(Kind.NO_IMAGE, self._annotations.describe(row), "no image belongs to it")
        path = self._annotations.root / file
        annotated: _Size = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        if not is_file(path) and not is_folder(path):
            return Problem(Kind.NO_IMAGE, str(path), "no such file")
        try:
            image = read_image(path)
        except InputError as error:
            return Problem(Kind.BAD_IMAGE, str(path), error.without(path))
        size = (image.shape[1], image.shape[0])
        if not all(annotated):
            self.sizes[row] = size
        elif size != annotated:
            return Problem(Kind.IMAGE_SIZE, str(path), describe_sizes(annotated, size))
        return None


def _joined(missing: Sequence[Problem]) -> Iterator[Problem]:
    """Join the missing images of a video into one problem."""
    if len(missing) < 2:
        yield from missing
        return
    first = missing[0]
    message = f"{first.message}; {len(missing) - 1} more images of the video are missing"
    yield Problem(Kind.NO_IMAGE, first.where, message)
