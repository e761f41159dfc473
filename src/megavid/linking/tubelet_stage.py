"""A stage that links the boxes of a whole video to tubelets, and then improves the tubelets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from megavid.core.detections import Detections, FrameResult
from megavid.linking.class_vectors import ScoredBoxes, to_detections, to_scored_boxes
from megavid.linking.stage import Stage
from megavid.linking.tubelets import Match, TubeletLinker, Tubelets


class TubeletStage(Stage):
    """Links the boxes of one video, whose results come at its end.

    The results have a detection for each class of a box with a score of at least `min_score`; all detections
    of a box have the id of its tubelet as their track.

    Args:
        match: Pairs boxes of two frames.
        max_gap: Largest number of frames without a box within a tubelet.
        min_score: Lowest score of a box that is linked, and of a class that becomes a detection.
        suppression_iou: See `suppress_within_classes`.
        improve: Function applied to the tubelets of the video, unless it has only one frame.
    """

    def __init__(
        self,
        *,
        match: Match,
        max_gap: int,
        min_score: float,
        suppression_iou: float,
        improve: Callable[[Tubelets], Tubelets],
    ) -> None:
        self._linker = TubeletLinker(match, max_gap=max_gap)
        self._improve = improve
        self._min_score, self._suppression_iou = min_score, suppression_iou
        self._fills_gaps = max_gap > 0
        self._results: list[FrameResult] = []  # without their boxes
        self._frames: list[ScoredBoxes] = []
        self._tubelets: list[NDArray[np.int64]] = []

    @property
    def look_ahead(self) -> None:
        """None, since a tubelet may extend to the end of the video."""
        return

    def push(self, result: FrameResult) -> list[FrameResult]:
        """Link the boxes of the next frame; no result is ready before the end of the video."""
        found = to_scored_boxes(
            result.detections, min_score=self._min_score, suppression_iou=self._suppression_iou
        )
        self._frames.append(found)
        self._tubelets.append(self._linker.push(found))
        self._results.append(replace(result, detections=result.detections[[]]))
        return []

    def flush(self) -> list[FrameResult]:
        """Return the results of all frames."""
        if not self._results:
            return []
        tubelets = Tubelets.from_frames(self._frames, self._tubelets)
        if len(self._results) > 1:
            tubelets = self._improve(tubelets)
        linked = tubelets.by_frame(len(self._results))
        results, self._results = self._results, []
        return [
            replace(result, detections=self._detections(result, here))
            for result, here in zip(results, linked, strict=True)
        ]

    def _detections(self, result: FrameResult, here: Tubelets) -> Detections:
        return to_detections(
            here.found,
            result.detections,
            tracks=here.tubelet,
            interpolated=here.interpolated if self._fills_gaps else None,
            min_score=self._min_score,
        )
