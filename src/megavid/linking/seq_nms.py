"""Seq-NMS: sequences of boxes over frames speak for each other (Han et al., "Seq-NMS for Video Object
Detection", 2016, arXiv:1602.08465, section 3.2).

In each video and class, boxes of neighbouring frames that overlap are linked. Again and again the sequence
of linked boxes with the largest sum of scores is taken: its boxes get a common score, and boxes that overlap
one of them in its frame are dropped.

Shapes: N boxes of one class of one video.
"""

from __future__ import annotations

import heapq
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from megavid.core.iou import paired_iou
from megavid.evaluation.prediction_table import PredictionTable

Rescoring = Literal["average", "max"]
"""The score that the boxes of a sequence get: their mean, or their best."""

Rescored = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""The score of each box, and whether it stays, (N,) each."""

LINK_IOU = 0.5
"""Boxes of neighbouring frames that overlap more are linked (section 3.2.1)."""

SUPPRESSION_IOU = 0.3
"""Boxes that overlap one of a taken sequence more are dropped, as in the frame-wise suppression before it."""


def seq_nms(predictions: PredictionTable, *, rescoring: Rescoring = "average", step: int = 1) -> Rescored:
    """Scores by sequence, and which boxes stay.

    Args:
        predictions: What was detected, any number of boxes.
        rescoring: How the boxes of a sequence are scored.
        step: Frames from a detected frame to the next: n where every n-th was detected in.

    Returns:
        For each box of all classes and videos its score, and whether it stays.
    """
    p = predictions
    scores, kept = p.scores.astype(np.float64), np.zeros(len(p), np.bool_)
    order = np.lexsort((p.frame, p.labels, p.video))
    ends = np.flatnonzero(np.diff(p.video[order]) | np.diff(p.labels[order])) + 1
    for rows in np.split(order, ends) if len(order) else []:
        for sequence in sequences(p.frame[rows], p.boxes[rows], p.scores[rows], step=step):
            chosen = rows[sequence]
            kept[chosen] = True
            scores[chosen] = scores[chosen].mean() if rescoring == "average" else scores[chosen].max()
    return scores.astype(np.float32), kept


def sequences(
    frame: NDArray[Any], boxes: NDArray[Any], scores: NDArray[Any], *, step: int = 1
) -> list[list[int]]:
    """The sequences that are taken of one class of a video, the largest sum of scores first.

    Args:
        frame: (N,), rising.
        boxes: (N, 4), half-open.
        scores: (N,), at least 0.
        step: Frames from a detected frame to the next.

    Returns:
        Rows of each sequence, by frame. Rows in none of them are suppressed.
    """
    beside = _overlapping(frame, boxes, after=0, iou=SUPPRESSION_IOU)
    best = _BestSums(_overlapping(frame, boxes, after=step, iou=LINK_IOU), scores.tolist())
    taken = []
    while path := best.path():
        taken.append(path)
        best.remove({*path, *(other for row in path for other in beside[row])})
    return taken


class _BestSums:
    """For each free box the largest sum of scores of a sequence that ends there; boxes can be removed.

    What is removed only makes sums smaller, so only sequences through it have to be looked at again.

    Args:
        ahead: For each box those it is linked to, all of them later rows.
        scores: Of each box.
    """

    def __init__(self, ahead: list[list[int]], scores: list[float]) -> None:
        self._scores = scores
        self._ahead = ahead
        self._behind: list[list[int]] = [[] for _ in scores]
        for row, others in enumerate(ahead):
            for other in others:
                self._behind[other].append(row)
        self._free = [True] * len(scores)
        self._before: list[int | None] = [None] * len(scores)
        self._sums = [-1.0] * len(scores)  # smaller than any
        self._heap: list[tuple[float, int]] = []
        for row in range(len(scores)):
            self._find(row)

    def path(self) -> list[int]:
        """The best sequence of free boxes, of equal ones the one that ends first; empty when none is left."""
        while self._heap:
            negative, end = self._heap[0]
            if not self._free[end] or -negative != self._sums[end]:  # has changed since
                heapq.heappop(self._heap)
                continue
            rows, row = [], cast("int | None", end)
            while row is not None:
                rows.append(row)
                row = self._before[row]
            return rows[::-1]
        return []

    def remove(self, rows: set[int]) -> None:
        """These boxes are free no longer."""
        rows = {row for row in rows if self._free[row]}
        for row in rows:
            self._free[row] = False
        waiting = sorted({after for row in rows for after in self._after(row)})
        while waiting:
            row = heapq.heappop(waiting)
            if self._find(row):
                for after in self._after(row):
                    heapq.heappush(waiting, after)

    def _after(self, row: int) -> list[int]:
        """Free boxes whose best sequence goes through this one."""
        return [other for other in self._ahead[row] if self._free[other] and self._before[other] == row]

    def _find(self, row: int) -> bool:
        """Find the best sequence that ends at a box; whether its sum is another than before."""
        behind = [other for other in self._behind[row] if self._free[other]]
        before = max(behind, key=self._sums.__getitem__, default=None)
        total = self._scores[row] + (0.0 if before is None else self._sums[before])
        self._before[row] = before
        if total == self._sums[row]:
            return False
        self._sums[row] = total
        heapq.heappush(self._heap, (-total, row))
        return True


def _overlapping(frame: NDArray[Any], boxes: NDArray[Any], *, after: int, iou: float) -> list[list[int]]:
    """For each box the others `after` frames later whose IoU with it is above a limit, by row."""
    first = np.searchsorted(frame, frame + after, side="left")
    counts = np.searchsorted(frame, frame + after, side="right") - first
    rows = np.repeat(np.arange(len(frame)), counts)
    others = first[rows] + np.arange(len(rows)) - (counts.cumsum() - counts)[rows]
    near = (paired_iou(boxes[rows], boxes[others]) > iou) & (rows != others)
    found: list[list[int]] = [[] for _ in frame]
    for row, other in zip(rows[near].tolist(), others[near].tolist(), strict=True):
        found[row].append(other)
    return found
