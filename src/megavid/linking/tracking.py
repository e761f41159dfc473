"""Track objects from frame to frame, with ByteTrack from the library `trackers`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.datasets.table.annotations import NO_TRACK

_CONFIDENT = 0.5
"""Lowest score of a detection that can start a track, and `megavid detect`'s default threshold."""


class Tracker:
    """ByteTrack (Zhang et al., ECCV 2022): links boxes by overlap, first confident ones, then the others.

    Classes play no part, so an object that gets a wrong class in one frame keeps its id. A track starts with
    a detection of score 0.5 or more, and gets its id in its second frame. Detections with lower scores can
    only continue a track.

    Args:
        rate: Frames per second, since a track ends if its object is not detected in one second of frames. For
            a live stream, this is the camera's rate: if frames are dropped, tracks last longer than a second.

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
            lost_track_buffer=30,  # one second: the library scales it from 30 frames per second
            track_activation_threshold=_CONFIDENT,
            high_conf_det_threshold=_CONFIDENT,
        )

    def update(self, detections: Detections) -> Detections:
        """Return the detections of the next frame with their tracks, in the same order."""
        found = detections.to_supervision()
        found.data["row"] = np.arange(len(detections))
        tracked = self._tracker.update(found)
        tracks = torch.full((len(detections),), NO_TRACK, dtype=torch.int64)
        if len(tracked):
            rows = torch.from_numpy(np.asarray(tracked.data["row"], np.int64))
            tracks[rows] = torch.from_numpy(np.asarray(tracked.tracker_id, np.int64))
        return replace(detections, tracks=tracks)
