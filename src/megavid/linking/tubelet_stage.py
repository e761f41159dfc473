"""A stage that links the boxes of a whole video to tubelets, and then improves the tubelets.

Its settings are also those of linkers that build tubelets on a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from megavid.core.config import Number
from megavid.core.detections import Detections, FrameResult
from megavid.linking.class_vectors import ScoredBoxes, to_detections, to_scored_boxes
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.stage import Stage
from megavid.linking.tubelets import Match, TubeletLinker, Tubelets


class TubeletConfig(LinkerConfig):
    """Settings of linkers that build tubelets.

    Attributes:
        suppression_iou: Within a class, boxes that overlap a better one by more than this IoU lose the class
            before linking; 1 for none.
        max_gap: Largest number of frames that an object may be missed for.
    """

    suppression_iou: Number = Field(default=0.5, gt=0, le=1)
    max_gap: int = Field(default=3, ge=0, le=1000)

    def scored_boxes(self, detections: Detections) -> ScoredBoxes:
        """Return the boxes to link in a frame with their class vectors; see `to_scored_boxes`."""
        return to_scored_boxes(detections, min_score=self.min_score, suppression_iou=self.suppression_iou)


class TubeletStage(Stage):
    """Links the boxes of one video, whose results come at its end.

    The results have a detection for each class of a box with a score of at least `config.min_score`; all
    detections of a box have the id of its tubelet as their track.

    Args:
        config: The settings.
        match: Pairs boxes of two frames.
        improve: Function applied to the tubelets of the video, unless it has only one frame.
    """

    def __init__(
        self, config: TubeletConfig, *, match: Match, improve: Callable[[Tubelets], Tubelets]
    ) -> None:
        self._config = config
        self._linker = TubeletLinker(match, max_gap=config.max_gap)
        self._improve = improve
        self._results: list[FrameResult] = []  # without their boxes
        self._frames: list[ScoredBoxes] = []
        self._tubelets: list[NDArray[np.int64]] = []

    @property
    def look_ahead(self) -> None:
        """None, since a tubelet may extend to the end of the video."""
        return

    def push(self, result: FrameResult) -> list[FrameResult]:
        """Link the boxes of the next frame; no result is ready before the end of the video."""
        found = self._config.scored_boxes(result.detections)
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
            interpolated=here.interpolated if self._config.max_gap else None,
            min_score=self._config.min_score,
        )
