"""Steadiness of each class and of each video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.steadiness import Steadiness, json_numbers


@dataclass(frozen=True)
class GroupSteadiness:
    """Steadiness of the tracks of one class or one video.

    Attributes:
        name: Name of the class or video.
        tracks: Number of tracks.
        track_frames: Number of frames of all tracks together.
        never_found: Number of tracks that are not found in any frame.
        changes: Number of flickers and class switches.
        measures: Measures over these tracks, keyed by the names in `MEASURES`; NaN without such tracks.
    """

    name: str
    tracks: int
    track_frames: int
    never_found: int
    changes: int
    measures: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return counts and measures as JSON values, with None for NaN."""
        counts = {name: getattr(self, name) for name in ("tracks", "never_found", "track_frames")}
        return {**counts, **json_numbers(self.measures)}


def steadiness_by_class(steadiness: Steadiness, classes: Sequence[str]) -> list[GroupSteadiness]:
    """Return the steadiness of each class that has tracks, the least steady first.

    Args:
        steadiness: Steadiness of all tracks.
        classes: (C,) names of the classes.
    """
    return _groups(steadiness, steadiness.label, classes)


def steadiness_by_video(steadiness: Steadiness) -> list[GroupSteadiness]:
    """Return the steadiness of each video that has tracks, the least steady first."""
    return _groups(steadiness, steadiness.video, steadiness.videos)


def _groups(steadiness: Steadiness, group: NDArray[Any], names: Sequence[str]) -> list[GroupSteadiness]:
    """Sort groups by flickers and class switches per frame, and then by the share found, both worst first."""
    n, s = len(names), steadiness
    tracks, never_found = np.bincount(group, minlength=n), np.bincount(group[s.found == 0], minlength=n)
    frames, changes = np.zeros(n, np.int64), np.zeros(n, np.int64)
    np.add.at(frames, group, s.frames)
    np.add.at(changes, group, s.flickers + s.class_switches)
    measures = s.measures_by(group, n)
    groups = [
        GroupSteadiness(
            name=names[i],
            tracks=int(tracks[i]),
            track_frames=int(frames[i]),
            never_found=int(never_found[i]),
            changes=int(changes[i]),
            measures={name: float(values[i]) for name, values in measures.items()},
        )
        for i in np.flatnonzero(tracks).tolist()
    ]
    return sorted(groups, key=lambda one: (-one.changes / one.track_frames, one.measures["found"]))
