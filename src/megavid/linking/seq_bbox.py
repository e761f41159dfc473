"""Seq-Bbox matching: link boxes by minimal-cost matching, and give each tubelet one class vector.

Source: Belhassen et al., "Improving Video Object Detection by Seq-Bbox Matching", VISAPP 2019.

Shapes: N and M boxes of two frames, B boxes of a frame, K classes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from megavid.core.config import Number
from megavid.core.detections import FrameResult
from megavid.core.iou import paired_iou
from megavid.linking.class_vectors import ScoredBoxes, class_agreement, to_detections, to_scored_boxes
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.stage import Stage
from megavid.linking.tubelet_stage import TubeletStage
from megavid.linking.tubelets import TubeletLinker, Tubelets, average_vectors, fill_gaps


class _SeqBboxConfig(LinkerConfig):
    """Settings of both forms of Seq-Bbox matching.

    Attributes:
        max_distance: Largest distance of two boxes that are linked: 1 / (IoU * inner product of their class
            vectors).
        max_gap: Largest number of frames that an object may be missed for.
    """

    max_distance: Number = Field(default=10.0, ge=1)
    max_gap: int = Field(default=3, ge=0, le=1000)


class SeqBboxConfig(_SeqBboxConfig):
    """Settings of Seq-Bbox matching on a whole video, where missing boxes are interpolated."""

    name: Literal["seq_bbox"] = "seq_bbox"

    def start(self) -> TubeletStage:
        """Return a new stage for one video."""
        return TubeletStage(
            match=partial(match_by_distance, max_distance=self.max_distance),
            max_gap=self.max_gap,
            min_score=self.min_score,
            improve=_improve,
        )


class SeqBboxOnlineConfig(_SeqBboxConfig):
    """Settings of Seq-Bbox matching on a stream, where no frame waits, and missing boxes stay missing."""

    name: Literal["seq_bbox_online"] = "seq_bbox_online"

    def start(self) -> SeqBboxOnline:
        """Return a new stage for one video."""
        return SeqBboxOnline(max_distance=self.max_distance, max_gap=self.max_gap, min_score=self.min_score)


class SeqBboxOnline(Stage):
    """Gives each box the mean of the class vectors of its tubelet up to its frame.

    Args:
        max_distance: Largest distance of two boxes that are linked.
        max_gap: Largest number of frames without a box within a tubelet.
        min_score: Lowest score of a box that is linked, and of a class that becomes a detection.
    """

    def __init__(self, *, max_distance: float, max_gap: int, min_score: float) -> None:
        self._linker = TubeletLinker(partial(match_by_distance, max_distance=max_distance), max_gap=max_gap)
        self._min_score = min_score
        self._means = _RunningMeans(frames=max_gap + 1)

    @property
    def look_ahead(self) -> int:
        """0, since only earlier frames are used."""
        return 0

    def push(self, result: FrameResult) -> list[FrameResult]:
        """Link the boxes of the next frame, and return its result."""
        found = to_scored_boxes(result.detections, min_score=self._min_score)
        tubelets = self._linker.push(found)
        detections = to_detections(
            ScoredBoxes(found.boxes, self._means.update(tubelets, found.vectors)),
            result.detections,
            tracks=tubelets,
            interpolated=None,
            min_score=self._min_score,
        )
        return [replace(result, detections=detections)]

    def flush(self) -> list[FrameResult]:
        """Return nothing, since all results have been returned."""
        return []


class _RunningMeans:
    """Mean class vectors of tubelets.

    Args:
        frames: A tubelet that has no box in this many frames and one more is forgotten.
    """

    def __init__(self, *, frames: int) -> None:
        self._frames, self._frame = frames, 0
        self._known: dict[int, tuple[NDArray[np.float64], int, int]] = {}  # sum, count and last frame

    def update(self, tubelets: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add the class vectors (B, K) of the boxes of the next frame, and return the new means, (B, K)."""
        means = np.zeros_like(vectors)
        for row, tubelet in enumerate(tubelets.tolist()):
            before, count, _ = self._known.get(tubelet, (np.zeros(0), 0, 0))
            total = vectors[row].astype(np.float64)
            total[: len(before)] += before[: len(total)]
            self._known[tubelet] = (total, count + 1, self._frame)
            means[row] = total / (count + 1)
        self._known = {t: entry for t, entry in self._known.items() if self._frame - entry[2] < self._frames}
        self._frame += 1
        return means


def match_by_distance(
    first: ScoredBoxes, second: ScoredBoxes, *, max_distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the boxes of two frames with the smallest sum of distances.

    The distance of two boxes is 1 / (IoU * inner product of their class vectors). Leaving two boxes unpaired
    costs `max_distance`, so that a pair with a large distance is not forced on them.

    Args:
        first: N boxes.
        second: M boxes.
        max_distance: Largest distance of a pair.

    Returns:
        Rows of each pair's two boxes.
    """
    similarity = paired_iou(first.boxes[:, None], second.boxes) * class_agreement(first, second)
    distance = np.full(similarity.shape, max_distance)
    near = similarity * max_distance >= 1
    distance[near] = 1 / similarity[near]
    rows, columns = linear_sum_assignment(distance)
    linked = near[rows, columns]
    return rows[linked], columns[linked]


def _improve(tubelets: Tubelets) -> Tubelets:
    return fill_gaps(average_vectors(tubelets))
