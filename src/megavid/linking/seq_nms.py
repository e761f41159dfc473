"""Seq-NMS: rescore sequences of overlapping boxes, and suppress boxes that compete with them.

Source: Han et al., "Seq-NMS for Video Object Detection", 2016, arXiv:1602.08465, section 3.2.

In each class of a video, overlapping boxes of neighboring frames are linked. The sequence of linked boxes
with the largest sum of scores is selected, its boxes get a common score, and boxes that overlap one of them
in its frame are suppressed. This repeats until no box is left.

Seq-DIoU is the same with the distance-IoU (Zheng et al., "Distance-IoU Loss", AAAI 2020, section 3.3) as the
overlap of links and of suppression, so that boxes whose centers differ are linked and suppressed less often.
Geng et al. use it in "Object-aware Feature Aggregation for Video Object Detection", 2020.

Shapes: N boxes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from megavid.core.detections import FrameResult
from megavid.core.iou import paired_diou, paired_iou
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.stage import Stage

Rescoring = Literal["average", "max"]
"""Common score of the boxes of a sequence: the mean or the maximum of their scores."""

Overlap = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]]
"""Overlap of each box of one array (N, 4) and the box in the same row of another, (N,)."""

LINK_OVERLAP = 0.5
"""Boxes of neighboring frames are linked if their overlap is higher than this (section 3.2.1)."""

SUPPRESSION_OVERLAP = 0.3
"""A box is suppressed if its overlap with a box of a selected sequence in its frame is higher than this."""


class _SequenceConfig(LinkerConfig):
    """Settings of Seq-NMS and Seq-DIoU.

    Attributes:
        rescoring: Score for the boxes of a sequence: the mean or the maximum of their scores.
    """

    rescoring: Rescoring = "average"


class SeqNmsConfig(_SequenceConfig):
    """Settings of Seq-NMS."""

    name: Literal["seq_nms"] = "seq_nms"

    def start(self) -> SeqNms:
        """Return a new stage for one video."""
        return SeqNms(overlap=paired_iou, rescoring=self.rescoring, min_score=self.min_score)


class SeqDiouConfig(_SequenceConfig):
    """Settings of Seq-DIoU."""

    name: Literal["seq_diou"] = "seq_diou"

    def start(self) -> SeqNms:
        """Return a new stage for one video."""
        return SeqNms(overlap=paired_diou, rescoring=self.rescoring, min_score=self.min_score)


class SeqNms(Stage):
    """Seq-NMS for one video, whose results come at its end. The sequences are the tracks of the results.

    Args:
        overlap: Overlap of two boxes: `paired_iou`, or `paired_diou` for Seq-DIoU.
        rescoring: Which score the boxes of a sequence get.
        min_score: Boxes with a score above this are linked; others are dropped.
    """

    def __init__(self, *, overlap: Overlap, rescoring: Rescoring, min_score: float) -> None:
        self._overlap, self._rescoring, self._min_score = overlap, rescoring, min_score
        self._results: list[FrameResult] = []

    @property
    def look_ahead(self) -> None:
        """None, since a sequence may extend to the end of the video."""
        return

    def push(self, result: FrameResult) -> list[FrameResult]:
        """Keep the result of the next frame; none is ready before the end of the video."""
        found = result.detections
        self._results.append(replace(result, detections=found[found.scores > self._min_score]))
        return []

    def flush(self) -> list[FrameResult]:
        """Return the results of all frames: rescored, with tracks, and without suppressed boxes."""
        results, self._results = self._results, []
        if not results:
            return []
        counts = [len(result.detections) for result in results]
        frame = np.repeat(np.arange(len(results)), counts)
        boxes, scores, labels = (
            torch.cat([getattr(result.detections, name) for result in results]).cpu().numpy()
            for name in ("boxes", "scores", "labels")
        )
        tracks = np.full(len(frame), -1)
        for number, rows in enumerate(self._sequences(frame, boxes, scores, labels)):
            tracks[rows] = number
            scores[rows] = (
                scores[rows].mean(dtype=np.float64) if self._rescoring == "average" else scores[rows].max()
            )
        ends = np.cumsum(counts)
        return [
            _with_tracks(result, scores[end - count : end], tracks[end - count : end])
            for result, count, end in zip(results, counts, ends, strict=True)
        ]

    def _sequences(
        self, frame: NDArray[Any], boxes: NDArray[Any], scores: NDArray[Any], labels: NDArray[Any]
    ) -> list[NDArray[np.intp]]:
        """Return the rows of the sequences of all classes, in the order of their first rows."""
        found = [
            rows[sequence]
            for label in np.unique(labels)
            for rows in [np.flatnonzero(labels == label)]
            for sequence in sequences(frame[rows], boxes[rows], scores[rows], overlap=self._overlap)
        ]
        return sorted(found, key=lambda rows: int(rows[0]))


def _with_tracks(result: FrameResult, scores: NDArray[Any], tracks: NDArray[Any]) -> FrameResult:
    """Return a frame's boxes that have a track, with new scores, by descending score."""
    found = replace(result.detections, scores=torch.from_numpy(scores), tracks=torch.from_numpy(tracks))
    order = found.scores.argsort(descending=True, stable=True)
    return replace(result, detections=found[order[tracks[order.numpy()] >= 0]])


def sequences(
    frame: NDArray[Any], boxes: NDArray[Any], scores: NDArray[Any], *, overlap: Overlap = paired_iou
) -> list[list[int]]:
    """Select the sequences of one class of one video, the largest sum of scores first.

    Args:
        frame: (N,), number of each box's frame, rising by 1 from one frame of the video to the next.
        boxes: (N, 4), half-open.
        scores: (N,), at least 0.
        overlap: Overlap of two boxes.

    Returns:
        Rows of each sequence, in the order of frames. Rows in no sequence are suppressed.
    """
    beside = _overlapping(frame, boxes, after=0, least=SUPPRESSION_OVERLAP, overlap=overlap)
    ahead = _overlapping(frame, boxes, after=1, least=LINK_OVERLAP, overlap=overlap)
    best = _BestSums(ahead, scores.tolist())
    selected = []
    while sequence := best.sequence():
        selected.append(sequence)
        best.remove({*sequence, *(other for row in sequence for other in beside[row])})
    return selected


class _BestSums:
    """For each box that is free, that is, not removed: the best sequence that ends at the box.

    The best sequence has the largest sum of scores. Sequences are found by dynamic programming. Removing
    boxes can only decrease sums, so only the sequences through removed boxes are computed again.

    Args:
        ahead: For each box, the rows of the boxes in the next frame that it is linked to.
        scores: Score of each box.
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
        self._sums = [-1.0] * len(scores)  # below every possible sum
        self._heap: list[tuple[float, int]] = []
        for row in range(len(scores)):
            self._update(row)

    def sequence(self) -> list[int]:
        """Return the rows of the sequence of free boxes with the largest sum; empty if no box is free.

        Of sequences with equal sums, the one whose last row comes first is returned.
        """
        while self._heap:
            negative, end = self._heap[0]
            if not self._free[end] or -negative != self._sums[end]:  # The entry is outdated.
                heapq.heappop(self._heap)
                continue
            rows, row = [], cast("int | None", end)
            while row is not None:
                rows.append(row)
                row = self._before[row]
            return rows[::-1]
        return []

    def remove(self, rows: set[int]) -> None:
        """Remove boxes, and find new best sequences in place of those through removed boxes."""
        rows = {row for row in rows if self._free[row]}
        for row in rows:
            self._free[row] = False
        waiting = sorted({after for row in rows for after in self._after(row)})
        while waiting:
            row = heapq.heappop(waiting)
            if self._update(row):
                for after in self._after(row):
                    heapq.heappush(waiting, after)

    def _after(self, row: int) -> list[int]:
        """Return the free boxes of the next frame whose best sequence goes through this box."""
        return [other for other in self._ahead[row] if self._free[other] and self._before[other] == row]

    def _update(self, row: int) -> bool:
        """Find the best sequence that ends at a box; return whether its sum has changed."""
        behind = [other for other in self._behind[row] if self._free[other]]
        before = max(behind, key=self._sums.__getitem__, default=None)
        total = self._scores[row] + (0.0 if before is None else self._sums[before])
        self._before[row] = before
        if total == self._sums[row]:
            return False
        self._sums[row] = total
        heapq.heappush(self._heap, (-total, row))
        return True


def _overlapping(
    frame: NDArray[Any], boxes: NDArray[Any], *, after: int, least: float, overlap: Overlap
) -> list[list[int]]:
    """Return, for each box, the rows of other boxes `after` frames later that overlap more than `least`."""
    first = np.searchsorted(frame, frame + after, side="left")
    counts = np.searchsorted(frame, frame + after, side="right") - first
    rows = np.repeat(np.arange(len(frame)), counts)
    others = first[rows] + np.arange(len(rows)) - (counts.cumsum() - counts)[rows]
    near = (overlap(boxes[rows], boxes[others]) > least) & (rows != others)
    found: list[list[int]] = [[] for _ in frame]
    for row, other in zip(rows[near].tolist(), others[near].tolist(), strict=True):
        found[row].append(other)
    return found
