"""Which videos to learn from and which to validate on, where nobody has said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.text import listed
from megavid.datasets.table.annotations import Annotations

LARGEST_GAP = 24
"""Frames between the two parts of a video: as far as most methods look to one side, a second or so."""

SHORTEST = 10
"""Frames of a video that can be split in time."""

_TRIES, _LISTED = 500, 10


def split_videos(annotations: Annotations, *, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Choose whole videos to validate on: frames of one video are too alike to stand on both sides.

    Of many random choices it takes one in which as few classes as can be are missing on one side (to train on
    counts double), and among these the one in which frames and the boxes of every class are closest to being
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
    best, least = np.zeros(videos, np.bool_), (np.inf, np.inf)
    for _ in range(_TRIES):
        order = rng.permutation(there)
        before = np.cumsum(frames[order]) - frames[order]
        count = int(np.searchsorted(before, share * frames.sum()))
        chosen = order[: min(max(count, 1), len(order) - 1)]
        error = _error(amounts, order, len(chosen), share)
        if error < least:
            best, least = np.isin(np.arange(videos), chosen), error
    return best


def _error(
    amounts: NDArray[np.float64], order: NDArray[np.int64], count: int, share: float
) -> tuple[float, float]:
    """How far the choice of the first `count` videos is from what is wanted: classes missing, then amounts.

    Args:
        amounts: (V, 1 + C), each video's share of all frames and of the boxes of each class.
        order: Videos that have frames.
        count: How many of them are to validate on.
        share: How much of each amount is wanted there.
    """
    val, train = amounts[order[:count]].sum(axis=0), amounts[order[count:]].sum(axis=0)
    missing = 2 * (train == 0).sum() + (val == 0).sum()
    return float(missing), float(np.abs(val - share).mean())


def find_videos(annotations: Annotations, names: Sequence[str]) -> NDArray[np.bool_]:
    """Find the videos that a user names: by their names, or the last part of them without its suffix.

    Args:
        annotations: V videos.
        names: Such as "clips/pond.mp4" or "pond".

    Returns:
        (V,), whether a video is named.

    Raises:
        InputError: A name is that of none or of several videos.
    """
    a = annotations
    there = a.frames_per_video > 0
    chosen = np.zeros(len(a.videos), np.bool_)
    for name in names:
        found = [v for v, video in enumerate(a.videos) if there[v] and video == name]
        found = found or [v for v, video in enumerate(a.videos) if there[v] and _stem(video) == _stem(name)]
        if len(found) != 1:
            videos = [a.videos[v] for v in (found or np.flatnonzero(there).tolist())]
            raise InputError(
                f"{name!r}: expected the name of one video, such as {listed(videos, most=_LISTED)}"
            )
        chosen[found] = True
    return chosen


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def split_in_time(annotations: Annotations, *, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose the last frames of every video to validate on, and a gap before them to leave out.

    The gap is there because neighboring frames are alike and methods look at neighbors: `LARGEST_GAP` frames,
    or a tenth of a shorter video. A video of fewer than `SHORTEST` frames is to train on.

    Args:
        annotations: F frames.
        share: How much of each video is wanted to validate on, between 0 and 1.

    Returns:
        (F,), whether a frame is to train on, and (F,), whether it is to validate on.
    """
    train, val = np.ones(len(annotations), np.bool_), np.zeros(len(annotations), np.bool_)
    for video in np.unique(annotations.video).tolist():
        span = annotations.frames_of(video)
        length = span.stop - span.start
        if length < SHORTEST:
            continue
        gap = min(LARGEST_GAP, length // 10)
        count = min(max(round(share * length), 1), length - gap - 1)
        val[span.stop - count : span.stop] = True
        train[span.stop - count - gap : span.stop] = False
    return train, val
