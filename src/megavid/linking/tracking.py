"""Ids for objects from frame to frame, by a library's tracker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.datasets.table.annotations import NO_TRACK

_SURE = 0.5
"""The lowest score that is drawn if nothing else is said."""


class Tracker:
    """ByteTrack (Zhang et al., ECCV 2022): boxes are linked by overlap, the sure ones first, then the others.

    Classes play no part, so an object that is taken for something else in one frame keeps its id. A track
    begins with a score of 0.5, and has its id from its second frame on; less sure boxes may go on with one.

    Args:
        rate: Frames a second of what is tracked: an object that is out of sight for a second is forgotten. Of
            a live stream the camera's, so that where frames are left out it is a longer time.

    Raises:
        InputError: The library is not installed.
    """

    def __init__(self, rate: float) -> None:
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise InputError("track: needs the library trackers: pip install trackers") from error
        self._tracker: Any = ByteTrackTracker(
            frame_rate=rate,
            lost_track_buffer=30,  # at 30 frames a second
            track_activation_threshold=_SURE,
            high_conf_det_threshold=_SURE,
        )

    def update(self, detections: Detections) -> Detections:
        """The next frame's detections with their tracks, in the same order."""
        found = detections.to_supervision()
        found.data["row"] = np.arange(len(detections))
        tracked = self._tracker.update(found)
        tracks = torch.full((len(detections),), NO_TRACK, dtype=torch.int64)
        if len(tracked):
            rows = torch.from_numpy(np.asarray(tracked.data["row"], np.int64))
            tracks[rows] = torch.from_numpy(np.asarray(tracked.tracker_id, np.int64))
        return replace(detections, tracks=tracks)
