"""Find all problems of a data set in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.similar_names import similar_names
from megavid.datasets.check_media import MediaCheck
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.datasets.table.problems import Kind, Problem

_TOLERANCE = 1.0
"""Pixels that a box may extend beyond its frame, since annotation tools count pixels differently."""

_FEWEST_STEPS = 3
"""Number of steps between successive frames that a video needs for its usual step to be inferred."""


def check_annotations(
    annotations: Annotations, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Problem]:
    """Yield the problems of images and videos, and then those of frames, boxes and classes.

    Images are decoded completely, on as many threads as there are cores. The frames of each video file are
    counted, and its first frame is decoded.

    Args:
        annotations: The data set.
        progress: Called with the number of images and videos checked so far and the total.
    """
    media = MediaCheck(annotations, progress)
    yield from media.problems()
    yield from _check_frames(annotations)
    yield from _check_boxes(annotations, media.sizes)
    yield from _check_classes(annotations)


def _check_frames(a: Annotations) -> Iterator[Problem]:
    counts = a.frames_per_video
    for video in np.flatnonzero(counts == 0).tolist():
        yield Problem(Kind.EMPTY_VIDEO, f"video {a.videos[video]!r}", "has no frames")
    same_video = a.video[1:] == a.video[:-1]
    step = np.diff(a.number)
    for row in np.flatnonzero(same_video & (step <= 0)).tolist():
        message = f"frame {a.number[row + 1]} comes after frame {a.number[row]}"
        yield Problem(Kind.DUPLICATE_FRAME, a.describe(row + 1), message)
    for row in np.flatnonzero(same_video & (step > _usual_step(a)[a.video[1:]])).tolist():
        message = f"frame {a.number[row + 1]} follows frame {a.number[row]}"
        yield Problem(Kind.GAP, a.describe(row + 1), message)
    files = [file for file in a.files.to_pylist() if file is not None]
    if len(set(files)) != len(files):
        yield from _check_repeated_files(a)
    other = (a.width[1:] != a.width[:-1]) | (a.height[1:] != a.height[:-1])
    for row in np.flatnonzero(same_video & other).tolist():
        sizes = [f"{a.width[i]}x{a.height[i]}" for i in (row + 1, row)]
        yield Problem(Kind.MIXED_SIZES, a.describe(row + 1), f"is {sizes[0]}, the frame before {sizes[1]}")


def _usual_step(a: Annotations) -> NDArray[np.int64]:
    """Return (V,), the smallest difference between successive frame numbers in each video.

    The difference is 5 if every fifth frame is annotated. It is taken to be 1 in videos with fewer than
    `_FEWEST_STEPS` steps.
    """
    same_video = a.video[1:] == a.video[:-1]
    videos, steps = a.video[1:][same_video], np.diff(a.number)[same_video]
    usual = np.full(len(a.videos), np.iinfo(np.int64).max, np.int64)
    np.minimum.at(usual, videos, steps)
    usual[np.bincount(videos, minlength=len(usual)) < _FEWEST_STEPS] = 1
    return usual.clip(min=1)


def _check_repeated_files(a: Annotations) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for row, file in enumerate(a.files.to_pylist()):
        first = seen.setdefault(file, row) if file is not None else row
        if first != row:
            where = f"frame {a.number[first]} of video {a.videos[a.video[first]]!r}"
            yield Problem(Kind.DUPLICATE_FRAME, a.describe(row), f"is the image of {where}, too")


def _check_boxes(a: Annotations, sizes: NDArray[np.int64]) -> Iterator[Problem]:
    frames = a.box_frames
    low, high = a.boxes[:, :2], a.boxes[:, 2:]
    empty = (high <= low).any(axis=1)
    size = sizes[frames]
    beyond = ((low < -_TOLERANCE) | (high > size + _TOLERANCE)).any(axis=1) & (size > 0).all(axis=1)
    for row in np.flatnonzero(empty).tolist():
        yield _box_problem(a, Kind.INVERTED, row, "expected x1 < x2 and y1 < y2")
    for row in np.flatnonzero(beyond & ~empty).tolist():
        width, height = size[row]
        yield _box_problem(a, Kind.OUTSIDE, row, f"expected a box within {width}x{height}")
    twice = _repeated(np.column_stack((frames, a.labels, a.boxes)))
    for row in np.flatnonzero(twice).tolist():
        yield _box_problem(a, Kind.DUPLICATE_BOX, row, "is in the frame twice")
    tracked = a.tracks != NO_TRACK
    same_track = np.zeros(len(frames), np.bool_)
    same_track[tracked] = _repeated(np.column_stack((frames, a.tracks))[tracked])
    for row in np.flatnonzero(same_track & ~twice).tolist():
        yield _box_problem(a, Kind.DUPLICATE_BOX, row, f"track {a.tracks[row]} has two boxes in the frame")


def _check_classes(a: Annotations) -> Iterator[Problem]:
    for name, other in similar_names(a.classes):
        yield Problem(Kind.SIMILAR_NAMES, f"class {name!r}", f"differs from {other!r} by case or blanks only")


def _box_problem(a: Annotations, kind: Kind, row: int, message: str) -> Problem:
    frame = int(np.searchsorted(a.offsets, row, side="right")) - 1
    number = row - int(a.offsets[frame]) + 1
    box = ", ".join(f"{x:g}" for x in a.boxes[row])
    return Problem(kind, f"{a.describe(frame)}, object {number}", f"{message}: {box}")


def _repeated(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows equal an earlier row."""
    repeated = np.ones(len(rows), np.bool_)
    _, first = np.unique(rows, axis=0, return_index=True)
    repeated[first] = False
    return repeated
