"""Seq-Bbox matching: link boxes by minimal-cost matching, and give each tubelet one class vector.

Source: Belhassen et al., "Improving Video Object Detection by Seq-Bbox Matching", VISAPP 2019.

Shapes: N and M boxes of two frames, B boxes of a frame, K classes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from megavid.core.config import Number
from megavid.core.detections import FrameResult
from megavid.core.iou import paired_iou
from megavid.linking.class_vectors import ScoredBoxes, class_agreement, to_detections
from megavid.linking.stage import Stage
from megavid.linking.tubelet_stage import TubeletConfig, TubeletStage
from megavid.linking.tubelets import Match, TubeletLinker, Tubelets, average_vectors, fill_gaps


class _SeqBboxConfig(TubeletConfig):
    """Settings of both forms of Seq-Bbox matching.

    Attributes:
        max_distance: Largest distance of two boxes that are linked: 1 / (IoU * inner product of their class
            vectors).
    """

    max_distance: Number = Field(default=10.0, ge=1)

    @property
    def match(self) -> Match:
        """Function that pairs boxes of two frames."""
        return partial(match_by_distance, max_distance=self.max_distance)


class SeqBboxConfig(_SeqBboxConfig):
    """Settings of Seq-Bbox matching on a whole video, where missing boxes are interpolated."""

    name: Literal["seq_bbox"] = "seq_bbox"

    def start(self) -> TubeletStage:
        """Return a new stage for one video."""
        return TubeletStage(self, match=self.match, improve=_improve)


class SeqBboxOnlineConfig(_SeqBboxConfig):
    """Settings of Seq-Bbox matching on a stream, where no frame waits, and missing boxes stay missing."""

    name: Literal["seq_bbox_online"] = "seq_bbox_online"

    def start(self) -> SeqBboxOnline:
        """Return a new stage for one video."""
        return SeqBboxOnline(self)


class SeqBboxOnline(Stage):
    """Gives each box the mean of the class vectors of its tubelet up to its frame.

    Args:
        config: The settings.
    """

    def __init__(self, config: SeqBboxOnlineConfig) -> None:
        self._config = config
        self._linker = TubeletLinker(config.match, max_gap=config.max_gap)
        self._means = _RunningMeans(max_gap=config.max_gap)

    @property
    def look_ahead(self) -> int:
        """0, since only earlier frames are used."""
        return 0

    def push(self, result: FrameResult) -> list[FrameResult]:
        """Link the boxes of the next frame, and return its result."""
        found = self._config.scored_boxes(result.detections)
        tubelets = self._linker.push(found)
        detections = to_detections(
            ScoredBoxes(found.boxes, self._means.update(tubelets, found.vectors)),
            result.detections,
            tracks=tubelets,
            interpolated=None,
            min_score=self._config.min_score,
        )
        return [replace(result, detections=detections)]

    def flush(self) -> list[FrameResult]:
        """Return nothing, since all results have been returned."""
        return []


class _RunningMeans:
    """Mean class vectors of tubelets.

    Args:
        max_gap: A tubelet that has no box in more frames than this is forgotten.
    """

    def __init__(self, *, max_gap: int) -> None:
        self._max_gap, self._frame = max_gap, 0
        self._ids, self._counts, self._last = (np.zeros(0, np.int64) for _ in range(3))  # by rising id
        self._sums = np.zeros((0, 0))

    def update(self, tubelets: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add the class vectors (B, K) of the boxes of the next frame, and return the new means, (B, K)."""
        place = np.searchsorted(self._ids, tubelets)
        known = np.isin(tubelets, self._ids)
        classes = max(vectors.shape[1], self._sums.shape[1])  # may grow if class names are unknown
        sums, before = (_with_classes(x, classes) for x in (vectors, self._sums))
        counts = np.ones(len(tubelets), np.int64)
        sums[known] += before[place[known]]
        counts[known] += self._counts[place[known]]
        waiting = self._frame - self._last <= self._max_gap
        waiting[place[known]] = False
        ids = np.concatenate((self._ids[waiting], tubelets))
        order = np.argsort(ids)
        self._ids = ids[order]
        self._sums = np.concatenate((before[waiting], sums))[order]
        self._counts = np.concatenate((self._counts[waiting], counts))[order]
        self._last = np.concatenate((self._last[waiting], np.full(len(tubelets), self._frame)))[order]
        self._frame += 1
        means: NDArray[np.float32] = (sums / counts[:, None]).astype(np.float32)
        return means


def _with_classes(vectors: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Return a copy of class vectors with the score 0 for further classes."""
    padded = np.zeros((len(vectors), classes))
    padded[:, : vectors.shape[1]] = vectors
    return padded


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
    distance = np.full(similarity.shape, max_distance, np.float64)
    near = similarity * max_distance >= 1
    distance[near] = 1 / similarity[near]
    rows, columns = linear_sum_assignment(distance)
    linked = near[rows, columns]
    return rows[linked], columns[linked]


def _improve(tubelets: Tubelets) -> Tubelets:
    return fill_gaps(average_vectors(tubelets))
