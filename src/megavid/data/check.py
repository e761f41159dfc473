"""Everything that is wrong with a data set, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from megavid.core.annotations import NO_TRACK, Annotations
from megavid.core.cores import usable_cores
from megavid.core.problems import Kind, Problem

_AT_ONCE = 4096
"""Images that wait to be looked at."""

_SLACK = 1.0
"""Pixels that a box may be beyond its frame: annotators count them differently."""


def check_annotations(
    annotations: Annotations, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Problem]:
    """What is wrong, with file names: first with images, then with frames, then with boxes.

    Images are decoded in full, on as many threads as there are cores; of videos, the first frame.

    Args:
        annotations: The data set.
        progress: Called with the number of images done and that of all.
    """
    yield from _check_sources(annotations)
    yield from _check_images(annotations, progress)
    yield from _check_frames(annotations)
    yield from _check_boxes(annotations)


def _check_sources(a: Annotations) -> Iterator[Problem]:
    for video, source in enumerate(a.sources):
        if source:
            numbers = a.number[a.frames_of(video)]
            problem = _check_source(a.root / source, int(numbers.max(initial=-1)))
            if problem is not None:
                yield problem


def _check_source(path: Path, last: int) -> Problem | None:
    if not path.is_file():
        return Problem(Kind.NO_IMAGE, str(path), "no such file")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            next(container.decode(stream))
            frames = stream.frames  # 0 where the file does not say
    except (av.FFmpegError, IndexError, StopIteration) as error:
        return Problem(Kind.BAD_IMAGE, str(path), f"expected a video: {error or 'it has no frames'}")
    if 0 < frames <= last:
        return Problem(Kind.NO_FRAME, f"{path}, frame {last}", f"the video has {frames} frames")
    return None


def _check_images(a: Annotations, progress: Callable[[int, int], None]) -> Iterator[Problem]:
    sources = np.array([bool(source) for source in a.sources], np.bool_)
    of_file = sources[a.video] if len(a) else np.zeros(0, np.bool_)
    files = a.files.to_pylist()
    rows = [row for row in range(len(a)) if not of_file[row]]

    def check(row: int) -> Problem | None:
        if files[row] is None:
            return Problem(Kind.NO_IMAGE, a.describe(row), "no image belongs to it")
        return _check_image(a.root / files[row], (int(a.width[row]), int(a.height[row])))

    # The decoder lets other threads work.
    done = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(rows), _AT_ONCE):
            for problem in pool.map(check, rows[start : start + _AT_ONCE]):
                if problem is not None:
                    yield problem
                done += 1
                progress(done, len(rows))


def _check_image(path: Path, size: tuple[int, int]) -> Problem | None:
    try:
        with Image.open(path) as image:
            image.load()
            found = image.size
    except FileNotFoundError:
        return Problem(Kind.NO_IMAGE, str(path), "no such file")
    except Exception as error:  # Pillow's readers raise whatever they run into
        return Problem(Kind.BAD_IMAGE, str(path), f"expected an image: {' '.join(str(error).split())}")
    if all(size) and found != size:
        message = f"annotated as {size[0]}x{size[1]}, but it is {found[0]}x{found[1]}"
        return Problem(Kind.IMAGE_SIZE, str(path), message)
    return None


def _check_frames(a: Annotations) -> Iterator[Problem]:
    counts = np.bincount(a.video, minlength=len(a.videos))
    for video in np.flatnonzero(counts == 0).tolist():
        yield Problem(Kind.EMPTY_VIDEO, f"video {a.videos[video]!r}", "has no frames")
    same_video = a.video[1:] == a.video[:-1]
    step = np.diff(a.number)
    for row in np.flatnonzero(same_video & (step <= 0)).tolist():
        message = f"frame {a.number[row + 1]} comes after frame {a.number[row]}"
        yield Problem(Kind.DUPLICATE_FRAME, a.describe(row + 1), message)
    for row in np.flatnonzero(same_video & (step > 1)).tolist():
        message = f"frame {a.number[row + 1]} follows frame {a.number[row]}"
        yield Problem(Kind.GAP, a.describe(row + 1), message)
    files = [file for file in a.files.to_pylist() if file is not None]
    if len(set(files)) != len(files):
        yield from _check_repeated_files(a)
    other = (a.width[1:] != a.width[:-1]) | (a.height[1:] != a.height[:-1])
    for row in np.flatnonzero(same_video & other).tolist():
        sizes = [f"{a.width[i]}x{a.height[i]}" for i in (row + 1, row)]
        yield Problem(Kind.MIXED_SIZES, a.describe(row + 1), f"is {sizes[0]}, the frame before {sizes[1]}")


def _check_repeated_files(a: Annotations) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for row, file in enumerate(a.files.to_pylist()):
        first = seen.setdefault(file, row) if file is not None else row
        if first != row:
            where = f"frame {a.number[first]} of video {a.videos[a.video[first]]!r}"
            yield Problem(Kind.DUPLICATE_FRAME, a.describe(row), f"is the image of {where}, too")


def _check_boxes(a: Annotations) -> Iterator[Problem]:
    frames = a.box_frames
    low, high = a.boxes[:, :2], a.boxes[:, 2:]
    empty = (high <= low).any(axis=1)
    size = np.stack((a.width, a.height), axis=1)[frames]
    beyond = ((low < -_SLACK) | (high > size + _SLACK)).any(axis=1) & (size > 0).all(axis=1)
    for row in np.flatnonzero(empty).tolist():
        yield _box_problem(a, Kind.INVERTED, row, "expected x1 < x2 and y1 < y2")
    for row in np.flatnonzero(beyond & ~empty).tolist():
        width, height = size[row]
        yield _box_problem(a, Kind.OUTSIDE, row, f"expected a box within {width}x{height}")
    twice = _repeated(np.column_stack((frames, a.labels, a.boxes)))
    for row in np.flatnonzero(twice).tolist():
        yield _box_problem(a, Kind.DUPLICATE_BOX, row, "stands in the frame twice")
    tracked = a.tracks != NO_TRACK
    same_track = np.zeros(len(frames), np.bool_)
    same_track[tracked] = _repeated(np.column_stack((frames, a.tracks))[tracked])
    for row in np.flatnonzero(same_track & ~twice).tolist():
        yield _box_problem(a, Kind.DUPLICATE_BOX, row, f"track {a.tracks[row]} has two boxes in the frame")


def _box_problem(a: Annotations, kind: Kind, row: int, message: str) -> Problem:
    frame = int(np.searchsorted(a.offsets, row, side="right")) - 1
    number = row - int(a.offsets[frame]) + 1
    box = ", ".join(f"{x:g}" for x in a.boxes[row])
    return Problem(kind, f"{a.describe(frame)}, object {number}", f"{message}: {box}")


def _repeated(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows are the same as an earlier one."""
    repeated = np.ones(len(rows), np.bool_)
    _, first = np.unique(rows, axis=0, return_index=True)
    repeated[first] = False
    return repeated
