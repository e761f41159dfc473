"""Compare annotated frame sizes with the sizes of the images and videos."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from megavid.core.machine.cores import usable_cores
from megavid.datasets.frame_reader import FrameError, frame_size
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems

_MOST_VIDEOS = 1000
"""Largest number of videos to compare, chosen evenly; in a set of still images, each image is a video."""


def check_sizes(annotations: Annotations, *, problems: Problems) -> Annotations:
    """Leave out videos whose boxes were annotated for images of another size.

    In each video, or in a thousand videos if there are more, the size of the first frame is compared with the
    annotated size. A video is also left out if more than half of its boxes are outside its frames, or if all
    of its boxes are within the first pixel, which shows that they are fractions. Frames that cannot be read
    are ignored here, since they are reported when they are read later. `check_annotations` compares all
    frames.

    Args:
        annotations: The data set.
        problems: Collects the videos that are left out.

    Returns:
        The frames of the other videos; videos keep their numbers.

    Raises:
        InputError: See `problems`.
    """
    a = annotations
    videos = np.unique(a.video)
    chosen = videos[np.linspace(0, len(videos) - 1, min(len(videos), _MOST_VIDEOS)).round().astype(np.int64)]
    wrong = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        sizes = pool.map(lambda video: _first_frame_size(a, video), chosen)
        for video, size in zip(chosen.tolist(), sizes, strict=True):
            problem = None if size is None else _find_problem(a, video, size)
            if problem is not None:
                kind, message = problem
                problems.add(kind, a.describe(a.frames_of(video).start), message)
                wrong.append(video)
    return a.select(~np.isin(a.video, wrong)) if wrong else a


def fill_sizes(annotations: Annotations) -> Annotations:
    """Replace unknown frame sizes by the size of the video's first frame, if this frame can be read."""
    a = annotations
    width, height = a.width.copy(), a.height.copy()
    unknown = (a.width == 0) | (a.height == 0)
    for video in np.unique(a.video[unknown]).tolist():
        size = _first_frame_size(a, video)
        if size is not None:
            span = a.frames_of(video)
            width[span][unknown[span]], height[span][unknown[span]] = size
    return replace(a, width=width, height=height)


def describe_sizes(annotated: tuple[int, int], found: tuple[int, int]) -> str:
    """Describe how the annotated (width, height) differs from the (width, height) of the image."""
    turned = ": it is displayed rotated" if annotated == found[::-1] else ""
    return f"annotated as {annotated[0]}x{annotated[1]}, but it is {found[0]}x{found[1]}{turned}"


def _first_frame_size(a: Annotations, video: int) -> tuple[int, int] | None:
    """Read the size of a video's first annotated frame; None if it cannot be read."""
    try:
        return frame_size(a, a.frames_of(video).start)
    except FrameError:
        return None


def _find_problem(a: Annotations, video: int, size: tuple[int, int]) -> tuple[Kind, str] | None:
    span = a.frames_of(video)
    annotated = int(a.width[span.start]), int(a.height[span.start])
    if all(annotated) and annotated != size:
        return Kind.IMAGE_SIZE, describe_sizes(annotated, size)
    boxes = a.boxes[a.offsets[span.start] : a.offsets[span.stop]]
    if len(boxes) and (np.abs(boxes) <= 1).all():
        message = (
            f"all {len(boxes)} boxes of the video are within its first pixel: expected pixels, not fractions"
        )
        return Kind.IMAGE_SIZE, message
    outside = int(np.count_nonzero((boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, :2] >= size).any(axis=1)))
    if 2 * outside > len(boxes):
        message = f"{outside} of the video's {len(boxes)} boxes are outside its frames of {size[0]}x{size[1]}"
        return Kind.OUTSIDE, message
    return None
