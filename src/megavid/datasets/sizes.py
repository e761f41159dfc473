"""Compare the sizes of frames that annotations state with those of the pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from megavid.core.errors import InputError
from megavid.core.machine.cores import usable_cores
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.video.images import image_size
from megavid.video.probe import probe_video

_MOST_VIDEOS = 1000
"""Videos that are looked at, evenly spread; a set of stills has hundreds of thousands."""


def check_sizes(annotations: Annotations, *, problems: Problems) -> Annotations:
    """Leave out videos whose boxes belong to pictures of another size.

    The first frame of each video, or of a thousand of them, is compared with the size that its annotations
    state. Where more than half of a video's boxes are outside its frames, they belong to others, too; where
    all are within the first pixel, they are fractions of a size. What cannot be read is passed over: whoever
    needs it says so. `check_annotations` looks at all frames.

    Args:
        annotations: The data set.
        problems: Where videos of another size go.

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
        for video, size in zip(chosen.tolist(), pool.map(lambda v: first_size(a, v), chosen), strict=True):
            found = None if size is None else _problem(a, video, size)
            if found is not None:
                problems.add(found[0], a.describe(a.frames_of(video).start), found[1])
                wrong.append(video)
    return a.select(~np.isin(a.video, wrong)) if wrong else a


def fill_sizes(annotations: Annotations) -> Annotations:
    """Fill in sizes of frames where the annotations don't say: those of their video's first frame.

    Of what cannot be read the sizes stay unknown.
    """
    a = annotations
    width, height = a.width.copy(), a.height.copy()
    unknown = (a.width == 0) | (a.height == 0)
    for video in np.unique(a.video[unknown]).tolist():
        size = first_size(a, video)
        if size is not None:
            span = a.frames_of(video)
            width[span][unknown[span]], height[span][unknown[span]] = size
    return replace(a, width=width, height=height)


def first_size(annotations: Annotations, video: int) -> tuple[int, int] | None:
    """Width and height, as displayed, of a video's first annotated frame; None if it cannot be read."""
    a = annotations
    start = a.frames_of(video).start
    try:
        if a.sources[video]:
            info = probe_video(a.root / a.sources[video])
            return info.width, info.height
        file = a.files[start].as_py()
        return None if file is None else image_size(a.root / file)
    except InputError:
        return None


def describe_sizes(annotated: tuple[int, int], found: tuple[int, int]) -> str:
    """Say that a picture has another size than annotated."""
    turned = ": it is displayed turned" if annotated == found[::-1] else ""
    return f"annotated as {annotated[0]}x{annotated[1]}, but it is {found[0]}x{found[1]}{turned}"


def _problem(a: Annotations, video: int, size: tuple[int, int]) -> tuple[Kind, str] | None:
    span = a.frames_of(video)
    annotated = int(a.width[span.start]), int(a.height[span.start])
    if all(annotated) and annotated != size:
        return Kind.IMAGE_SIZE, describe_sizes(annotated, size)
    boxes = a.boxes[a.offsets[span.start] : a.offsets[span.stop]]
    if len(boxes) and (np.abs(boxes) <= 1).all():
        message = (
            f"all {len(boxes)} boxes of the video are within its first pixel: expected pixels, no fractions"
        )
        return Kind.IMAGE_SIZE, message
    outside = int(np.count_nonzero((boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, :2] >= size).any(axis=1)))
    if 2 * outside > len(boxes):
        message = f"{outside} of the video's {len(boxes)} boxes are outside its frames of {size[0]}x{size[1]}"
        return Kind.OUTSIDE, message
    return None
