"""Choose the frames with the most errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.annotations import Annotations

LEAST_DISTANCE = 10
"""Smallest number of frames between two chosen frames of a video."""

_PARTS_OF_VIDEO = 10
"""Two chosen frames of a long video are at least its length divided by this number apart."""


def worst_frames(annotations: Annotations, errors: NDArray[np.integer], *, count: int) -> list[int]:
    """Choose frames with many errors, from different videos first, and never close together in a video.

    Args:
        annotations: The data set, F frames.
        errors: (F,), number of errors in each frame.
        count: Largest number of frames to choose.

    Returns:
        Rows of the frames in the data set: the worst frame of each video, by falling number of errors, then
        the second frame of each video, and so on.
    """
    rounds: list[list[int]] = []
    by_video: dict[int, list[int]] = {}
    for frame in np.argsort(-errors, kind="stable").tolist():
        if not errors[frame] or sum(len(part) for part in rounds[:1]) >= count:
            break
        video = int(annotations.video[frame])
        chosen = by_video.setdefault(video, [])
        if len(chosen) < count and _is_apart(annotations, frame, chosen):
            if len(chosen) == len(rounds):
                rounds.append([])
            rounds[len(chosen)].append(frame)
            chosen.append(frame)
    return [frame for part in rounds for frame in part][:count]


def _is_apart(a: Annotations, frame: int, others: list[int]) -> bool:
    if not others:
        return True
    numbers = a.number[a.frames_of(int(a.video[frame]))]
    distance = max(LEAST_DISTANCE, (int(numbers[-1]) - int(numbers[0]) + 1) // _PARTS_OF_VIDEO)
    return all(abs(int(a.number[frame]) - int(a.number[other])) >= distance for other in others)
