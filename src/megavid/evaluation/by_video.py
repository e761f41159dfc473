"""Average precision of each video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.outcomes import Outcomes


def ap_by_video(
    outcomes: Sequence[Outcomes], frame_video: NDArray[np.integer], *, num_videos: int
) -> NDArray[np.float64]:
    """Compute the AP50 of each video: the mean over the classes with objects in that video.

    Args:
        outcomes: (C,), the outcomes of each class, from `outcomes_by_class`.
        frame_video: (F,), video of each frame.
        num_videos: Number of videos, V.

    Returns:
        (V,), in [0, 1]; NaN for a video without objects.
    """
    total, classes = np.zeros(num_videos), np.zeros(num_videos)
    for one in outcomes:
        objects = np.bincount(frame_video[one.object_frame], minlength=num_videos)
        present = objects > 0
        classes += present
        video = frame_video[one.frame]
        rows = np.flatnonzero(present[video])
        rows = rows[np.argsort(video[rows], kind="stable")]  # by video, then by falling score
        starts = np.flatnonzero(np.diff(video[rows], prepend=-1))
        for part in np.split(rows, starts[1:]):
            if len(part):
                number = video[part[0]]
                total[number] += _area(one.hit[part], one.false[part]) / objects[number]
    total[classes == 0] = np.nan
    total[classes > 0] /= classes[classes > 0]
    return total


def _area(hit: NDArray[np.bool_], false: NDArray[np.float64]) -> float:
    """Return the area under the precision envelope, times the number of objects."""
    places = np.flatnonzero(hit)
    true = np.arange(1, len(places) + 1)
    precision = true / (true + false.cumsum()[places])
    return float(np.maximum.accumulate(precision[::-1]).sum())
