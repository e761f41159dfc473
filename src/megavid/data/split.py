"""Which videos to learn from and which to validate on, where nobody has said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from megavid.core.annotations import Annotations

_TRIES = 500


def split_videos(annotations: Annotations, *, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """A choice of whole videos to validate on: frames of one video are too alike to stand on both sides.

    Of many random choices it takes the one in which frames and the boxes of every class are closest to being
    shared out as wanted.

    Args:
        annotations: V videos.
        share: How much of it is wanted to validate on, between 0 and 1.
        seed: Of the choices.

    Returns:
        (V,), whether a video is to validate on: at least one is and one is not.

    Raises:
        ValueError: There are fewer than two videos with frames.
    """
    a = annotations
    videos, classes = len(a.videos), len(a.classes)
    frames = np.bincount(a.video, minlength=videos)
    there = np.flatnonzero(frames)
    if len(there) < 2:
        raise ValueError(f"expected two videos or more to split, got {len(there)}")
    boxes = np.zeros((videos, classes))
    np.add.at(boxes, (a.video[a.box_frames], a.labels), 1)
    amounts = np.column_stack((frames, boxes[:, boxes.sum(axis=0) > 0]))  # (V, what is to be shared out)
    amounts = amounts / amounts.sum(axis=0)
    rng = np.random.default_rng(seed)
    best, least = np.zeros(videos, np.bool_), np.inf
    for _ in range(_TRIES):
        order = rng.permutation(there)
        before = np.cumsum(frames[order]) - frames[order]
        count = int(np.searchsorted(before, share * frames.sum()))
        chosen = order[: min(max(count, 1), len(order) - 1)]
        error = float(np.abs(amounts[chosen].sum(axis=0) - share).mean())
        if error < least:
            best, least = np.isin(np.arange(videos), chosen), error
    return best
