"""Split a data set into frames to train on and frames to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.text import listed
from megavid.datasets.table.annotations import Annotations

LARGEST_GAP = 24
"""Largest gap between the two parts of a video, in frames; few methods look farther to either side."""

SHORTEST = 10
"""Smallest number of frames that a video needs to be split in time."""

_TRIES, _LISTED = 500, 10


def split_videos(annotations: Annotations, *, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Choose whole videos to validate on, since frames of one video are too similar to be in both parts.

    Among many random choices, those with the fewest missing classes are preferred; a class missing from
    training counts twice, and one missing from validation once. Among these choices, the one that divides the
    frames and the boxes of every class most nearly as `share` says is the best.

    Args:
        annotations: V videos.
        share: Wanted share of validation frames and boxes, between 0 and 1.
        seed: Seed of the random choices.

    Returns:
        (V,), whether each video is for validation; each part has at least one video.

    Raises:
        ValueError: Fewer than two videos have frames.
    """
    a = annotations
    videos, classes = len(a.videos), len(a.classes)
    frames = np.bincount(a.video, minlength=videos)
    candidates = np.flatnonzero(frames)
    if len(candidates) < 2:
        raise ValueError(f"expected two videos or more to split, got {len(candidates)}")
    boxes = np.zeros((videos, classes))
    np.add.at(boxes, (a.video[a.box_frames], a.labels), 1)
    amounts = np.column_stack((frames, boxes[:, boxes.sum(axis=0) > 0]))  # (V, 1 + C)
    amounts = amounts / amounts.sum(axis=0)
    rng = np.random.default_rng(seed)
    best, least = np.zeros(videos, np.bool_), (np.inf, np.inf)
    for _ in range(_TRIES):
        order = rng.permutation(candidates)
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
    """Measure how far a choice of videos is from the wanted split.

    Args:
        amounts: (V, 1 + C), each video's share of all frames and of all boxes of each class.
        order: Numbers of the videos with frames; the first `count` are for validation.
        count: Number of videos to validate on.
        share: Wanted share of each amount for validation.

    Returns:
        The weighted number of missing classes, and the mean error of the shares; smaller is better.
    """
    val, train = amounts[order[:count]].sum(axis=0), amounts[order[count:]].sum(axis=0)
    missing = 2 * (train == 0).sum() + (val == 0).sum()
    return float(missing), float(np.abs(val - share).mean())


def find_videos(annotations: Annotations, names: Sequence[str]) -> NDArray[np.bool_]:
    """Find videos by their whole names, or else by the last parts of their names without suffix.

    Args:
        annotations: V videos.
        names: Names that the user gave, such as "clips/pond.mp4" or "pond".

    Returns:
        (V,), whether each video has one of the names.

    Raises:
        InputError: A name matches no video or several videos.
    """
    a = annotations
    candidates = np.flatnonzero(a.frames_per_video).tolist()
    chosen = np.zeros(len(a.videos), np.bool_)
    for name in names:
        found = [v for v in candidates if a.videos[v] == name]
        found = found or [v for v in candidates if _stem(a.videos[v]) == _stem(name)]
        if len(found) != 1:
            videos = [a.videos[v] for v in (found or candidates)]
            raise InputError(
                f"{name!r}: expected the name of one video, such as {listed(videos, most=_LISTED)}"
            )
        chosen[found] = True
    return chosen


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def split_in_time(annotations: Annotations, *, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose the last frames of every video to validate on, and leave out a gap before them.

    The gap separates similar neighboring frames, which methods use as references. It has `LARGEST_GAP`
    frames, or a tenth of the video if that is fewer. Videos of fewer than `SHORTEST` frames are for training
    only.

    Args:
        annotations: F frames.
        share: Wanted share of each video for validation, between 0 and 1.

    Returns:
        Whether each frame is for training (F,), and whether it is for validation (F,).
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
