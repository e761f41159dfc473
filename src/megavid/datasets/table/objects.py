"""Group the boxes of a video by object, for formats that list objects instead of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.annotations import NO_TRACK, Annotations


@dataclass(frozen=True, kw_only=True)
class ObjectBoxes:
    """The boxes of an object in a video.

    Attributes:
        label: Index of the object's class.
        track: Id of its track; `NO_TRACK` if it has none.
        rows: Rows of its boxes in the table, by ascending frame.
        frames: For each row, the number of the frame.
        ends: For each row, whether the object is missing in the frame after it; True at the end of the video.
    """

    label: int
    track: int
    rows: Sequence[int]
    frames: Sequence[int]
    ends: Sequence[bool]


def frame_step(numbers: NDArray[np.int64]) -> int:
    """Return the largest step that leads from the first frame number to all others; 1 for a single frame."""
    return int(np.gcd.reduce(np.diff(numbers))) or 1


def objects_of(annotations: Annotations, video: int) -> list[ObjectBoxes]:
    """Group the boxes of a video by object.

    Formats of tracks have one class for each track, so a track whose class changes is divided into one object
    per class. A box without a track is an object of its own.

    Args:
        annotations: The data set.
        video: Index of the video, which has at least one frame.

    Returns:
        The objects in the order of their first boxes.
    """
    a, span = annotations, annotations.frames_of(video)
    first = int(a.offsets[span.start])
    boxes = slice(first, int(a.offsets[span.stop]))
    frames = np.repeat(a.number[span], np.diff(a.offsets[span.start : span.stop + 1]))
    groups: dict[tuple[int, int, int], list[int]] = {}
    for row, (track, label) in enumerate(
        zip(a.tracks[boxes].tolist(), a.labels[boxes].tolist(), strict=True)
    ):
        groups.setdefault((track, label, row if track == NO_TRACK else NO_TRACK), []).append(row)
    step = frame_step(a.number[span])
    objects = []
    for (track, label, _), rows in groups.items():
        numbers = frames[rows]
        objects.append(
            ObjectBoxes(
                label=label,
                track=track,
                rows=[first + row for row in rows],
                frames=numbers.tolist(),
                ends=[*(np.diff(numbers) != step).tolist(), True],
            )
        )
    return objects
