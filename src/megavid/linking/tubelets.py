"""Tubelets: the boxes of an object in the frames of a video.

Boxes are linked frame by frame (`TubeletLinker`), so that a stream can be linked, too. When a video is
complete, its tubelets get common class vectors, gaps are filled, and boxes are smoothed.

Shapes: N boxes of all frames, B boxes of a frame, K classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from megavid.linking.class_vectors import ScoredBoxes

Match = Callable[[ScoredBoxes, ScoredBoxes], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Function that pairs boxes of an earlier and a later frame: the rows of each pair's two boxes. No box is in
two pairs."""


@dataclass
class _Frame:
    """Boxes of a frame, their tubelets, and whether each is the last box of its tubelet so far."""

    found: ScoredBoxes
    tubelets: NDArray[np.int64]
    last: NDArray[np.bool_]


class TubeletLinker:
    """Links the boxes of one frame after another.

    Boxes of a new frame are matched with those of the frame before. Boxes that remain are then matched with
    the last boxes of tubelets that have ended one frame earlier, two frames earlier, and so on.

    Args:
        match: Pairs boxes of two frames.
        max_gap: Largest number of frames without a box within a tubelet.
    """

    def __init__(self, match: Match, *, max_gap: int) -> None:
        self._match = match
        self._recent: deque[_Frame] = deque(maxlen=max_gap + 1)
        self._started = 0

    def push(self, found: ScoredBoxes) -> NDArray[np.int64]:
        """Return the tubelet of each box of the next frame, (B,); new tubelets are numbered from 0 on."""
        tubelets = np.full(len(found), -1, np.int64)
        for earlier in reversed(self._recent):
            ended, free = np.flatnonzero(earlier.last), np.flatnonzero(tubelets < 0)
            if len(ended) and len(free):
                first, second = self._match(earlier.found.take(ended), found.take(free))
                tubelets[free[second]] = earlier.tubelets[ended[first]]
                earlier.last[ended[first]] = False
        new = tubelets < 0
        tubelets[new] = self._started + np.arange(new.sum())
        self._started += int(new.sum())
        self._recent.append(_Frame(found, tubelets, np.ones(len(found), np.bool_)))
        return tubelets


@dataclass(frozen=True, eq=False)
class Tubelets:
    """Boxes of all frames of a video, sorted by tubelet and then by frame.

    Attributes:
        frame: int64 (N,), place of each box's frame in the video, from 0.
        tubelet: int64 (N,), id of each box's tubelet.
        found: The boxes with their class vectors, N boxes.
        interpolated: bool (N,), whether the box fills a gap.
    """

    frame: NDArray[np.int64]
    tubelet: NDArray[np.int64]
    found: ScoredBoxes
    interpolated: NDArray[np.bool_]

    @classmethod
    def from_frames(cls, frames: Sequence[ScoredBoxes], tubelets: Sequence[NDArray[np.int64]]) -> Tubelets:
        """Sort the boxes of the frames of a video by tubelet; there is at least one frame."""
        frame = np.repeat(np.arange(len(frames)), [len(found) for found in frames])
        tubelet = np.concatenate(tubelets)
        order = np.argsort(tubelet, kind="stable")
        boxes = np.concatenate([found.boxes for found in frames])
        found = ScoredBoxes(boxes[order], _stack([found.vectors for found in frames])[order])
        return cls(frame[order], tubelet[order], found, np.zeros(len(order), np.bool_))

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: NDArray[Any]) -> Tubelets:
        """Return some of the boxes, chosen by row or by a mask."""
        return Tubelets(self.frame[rows], self.tubelet[rows], self.found.take(rows), self.interpolated[rows])

    def starts(self) -> NDArray[np.int64]:
        """Return the row of each tubelet's first box, and N at the end."""
        new = np.flatnonzero(np.diff(self.tubelet)) + 1
        return np.concatenate(([0], new, [len(self)])) if len(self) else np.zeros(1, np.int64)

    def by_frame(self, frames: int) -> list[Tubelets]:
        """Return the boxes of each of the video's frames."""
        order = np.argsort(self.frame, kind="stable")
        ends = np.searchsorted(self.frame[order], np.arange(1, frames))
        return [self.take(rows) for rows in np.split(order, ends)]


def drop_unlinked(tubelets: Tubelets) -> Tubelets:
    """Leave out tubelets of one box."""
    lengths = np.diff(tubelets.starts())
    return tubelets.take(np.repeat(lengths > 1, lengths))


def average_vectors(tubelets: Tubelets) -> Tubelets:
    """Give each box the mean of the class vectors of its tubelet."""
    starts = tubelets.starts()
    lengths = np.diff(starts)
    if not len(lengths):
        return tubelets
    sums = np.add.reduceat(tubelets.found.vectors, starts[:-1], axis=0, dtype=np.float64)
    means = (sums / lengths[:, None]).astype(np.float32)
    found = ScoredBoxes(tubelets.found.boxes, np.repeat(means, lengths, axis=0))
    return replace(tubelets, found=found)


def fill_gaps(tubelets: Tubelets) -> Tubelets:
    """Add a box in each frame that a tubelet skips, interpolated linearly between its neighbors.

    Class vectors are interpolated, too; they are those of the tubelet if this follows `average_vectors`.
    """
    t = tubelets
    missing = np.diff(t.frame, append=0) - 1
    missing[t.starts()[1:] - 1] = 0  # the last box of each tubelet
    before = np.repeat(np.arange(len(t)), missing)
    step = np.arange(1, len(before) + 1) - np.repeat(missing.cumsum() - missing, missing)
    share = (step / (missing[before] + 1))[:, None]
    boxes, vectors = (
        x[before] * (1 - share) + x[before + 1] * share for x in (t.found.boxes, t.found.vectors)
    )
    order = np.argsort(np.concatenate((np.arange(len(t)), before)), kind="stable")
    found = ScoredBoxes(
        np.concatenate((t.found.boxes, boxes))[order],
        np.concatenate((t.found.vectors, vectors.astype(np.float32)))[order],
    )
    return Tubelets(
        np.concatenate((t.frame, t.frame[before] + step))[order],
        np.concatenate((t.tubelet, t.tubelet[before]))[order],
        found,
        np.concatenate((t.interpolated, np.ones(len(before), np.bool_)))[order],
    )


def smooth_boxes(tubelets: Tubelets, *, sigma: float) -> Tubelets:
    """Smooth the centers and sizes of each tubelet's boxes by a normalized Gaussian, with reflected ends.

    Args:
        tubelets: Tubelets without gaps.
        sigma: Standard deviation of the Gaussian, in frames; 0 changes nothing.
    """
    if sigma == 0:
        return tubelets
    boxes = tubelets.found.boxes
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    values = np.concatenate((boxes[:, :2] + half, half), axis=1)
    starts = tubelets.starts().tolist()
    for start, end in pairwise(starts):
        if end - start > 1:
            values[start:end] = gaussian_filter1d(values[start:end], sigma, axis=0, mode="reflect")
    center, half = values[:, :2], values[:, 2:]
    boxes = np.concatenate((center - half, center + half), axis=1)
    return replace(tubelets, found=ScoredBoxes(boxes, tubelets.found.vectors))


def _stack(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Concatenate class vectors; if class names are unknown, frames may have different numbers of classes."""
    classes = max(part.shape[1] for part in vectors)
    return np.concatenate([np.pad(part, ((0, 0), (0, classes - part.shape[1]))) for part in vectors])
