"""Which frames to look at first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.annotations import Annotations

LEAST_DISTANCE = 10
"""Frames that two shown ones are apart at least."""

_SHARE_OF_VIDEO = 10
"""Shown frames are also apart by at least the video's length divided by this."""


def worst_frames(annotations: Annotations, errors: NDArray[np.integer], *, count: int) -> list[int]:
    """Choose frames with many errors, of different videos first, and in a video not neighbors.

    Args:
        annotations: The data set, F frames.
        errors: (F,), how many errors each frame has.
        count: How many frames to choose at most.

    Returns:
        Rows of the data set: first the worst frame of each video, the worst of all first; then each video's
        second one, and so on.
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
    distance = max(LEAST_DISTANCE, (int(numbers[-1]) - int(numbers[0]) + 1) // _SHARE_OF_VIDEO)
    return all(abs(int(a.number[frame]) - int(a.number[other])) >= distance for other in others)
