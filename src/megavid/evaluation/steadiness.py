"""How steadily objects are found over time: flickers, class switches, fragments, gaps and jitter.

AP judges frames one by one, so it hardly tells an object that is found in every other frame from one that is
found in the first half of its frames. These measures follow the annotated tracks, at one score threshold.

Shapes: V videos, T tracks, P frames of all tracks together, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megavid.evaluation.bootstrap import draw_videos, percentile_interval

STATES = ("lost", "wrong class", "found")
"""States of an object in a frame; `Steadiness.state` contains indexes into this tuple."""

NOT_MEASURED = "Steadiness was not measured: no object that counts has a track id."
"""Text that replaces the measures if there are none."""

LOST, WRONG_CLASS, FOUND = range(len(STATES))


@dataclass(frozen=True, eq=False)
class Steadiness:
    """How steadily the objects of a data set are found.

    Attributes:
        score_threshold: Only detections with a score above this count; None if no detection counts.
        videos: (V,) names of all videos.
        video: int (T,), index of each track's video; tracks are sorted by video, id and class.
        track: int64 (T,), id of each track.
        label: int (T,), class of each track. Objects of different classes are on different tracks, even if
            they have the same id.
        offsets: int64 (T + 1,); the frames of track t are the rows offsets[t] : offsets[t + 1].
        number: int64 (P,), number in its video of each frame of each track, in the order of time.
        state: int8 (P,), indexes into `STATES`.
        class_switches: int64 (T,), how often the class of the detection on the object changes from one frame
            in which the object is found or of the wrong class to the next such frame.
        flickers: int64 (T,), number of gaps: runs of frames in which the object is not found, between two
            frames in which it is. Frames before the first hit or after the last one are in no gap.
        longest_gap: int64 (T,), number of frames of the longest gap; 0 if there is none.
        center_jitter: float64 (T,), sum of the standard deviations of the detections' offsets from the truth
            along x and along y, as shares of the object's width and height; NaN if the object is found in
            fewer than two frames.
        size_jitter: float64 (T,), sum of the standard deviations of the detections' scale (the square root of
            the area) and aspect ratio, each divided by the truth's; NaN like `center_jitter`.
        only_interpolated: bool (P,), frames in which the object is found, but would not be found without the
            interpolated boxes; None if no box is marked as interpolated.
    """

    score_threshold: float | None
    videos: tuple[str, ...]
    video: NDArray[Any]
    track: NDArray[np.int64]
    label: NDArray[Any]
    offsets: NDArray[np.int64]
    number: NDArray[np.int64]
    state: NDArray[np.int8]
    class_switches: NDArray[np.int64]
    flickers: NDArray[np.int64]
    longest_gap: NDArray[np.int64]
    center_jitter: NDArray[np.float64]
    size_jitter: NDArray[np.float64]
    only_interpolated: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.track)

    @cached_property
    def frames(self) -> NDArray[np.int64]:
        """(T,), number of frames of each track."""
        return np.diff(self.offsets)

    @cached_property
    def found(self) -> NDArray[np.int64]:
        """(T,), number of frames of each track in which the object is found."""
        return self._count(self.state == FOUND)

    @cached_property
    def fragments(self) -> NDArray[np.int64]:
        """(T,), number of maximal runs of frames of each track in which the object is found."""
        return self.flickers + (self.found > 0)

    @property
    def never_found(self) -> int:
        """Number of tracks that are not found in any frame."""
        return int((self.found == 0).sum())

    def measures(self) -> dict[str, float]:
        """Return the measures over all tracks, keyed by the names in `MEASURES`; NaN without such tracks.

        Flickers are counted per 100 frames of tracks; class switches and shares of frames are means over all
        tracks; fragments and gaps are means over the tracks that are found at all; jitter is a mean over the
        tracks that are found in at least two frames; "interpolated" is a share of all found frames.
        """
        return {name: float(_ratio(a.sum(), b.sum())) for name, (a, b) in self._terms().items()}

    def measures_by(self, group: NDArray[Any], groups: int) -> dict[str, NDArray[np.float64]]:
        """Return the measures over the tracks of each group.

        Args:
            group: int (T,), group of each track, such as `label` or `video`.
            groups: Number of groups, G.

        Returns:
            (G,) values of each measure, as in `measures`, keyed by the names in `MEASURES`.
        """
        sums = {name: _sums(terms, group, groups) for name, terms in self._terms().items()}
        return {name: _ratio(numerator, denominator) for name, (numerator, denominator) in sums.items()}

    def samples(self) -> dict[str, NDArray[np.float64]] | None:
        """Return the measures in resamples of the videos with tracks (see `bootstrap`).

        Two runs with tracks in the same videos get the same resamples.

        Returns:
            (R,) values of each measure, keyed by the names in `MEASURES`; None if all tracks are in one
            video.
        """
        resamples = draw_videos(self.video)
        if resamples is None:
            return None
        samples = {}
        for name, terms in self._terms().items():
            per_video = _sums(terms, resamples.frame_video, resamples.videos)
            numerator, denominator = (resamples.counts @ sums for sums in per_video)
            samples[name] = _ratio(numerator, denominator)
        return samples

    def _terms(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Return two arrays (T,) for each measure: it is the sum of the first divided by that of the second.

        A track to which a measure does not apply has 0 in both.
        """
        ever_found, all_tracks, none = self.found > 0, np.ones(len(self)), np.zeros(len(self))
        filled = None if self.only_interpolated is None else self._count(self.only_interpolated)
        return {
            "flickers": (100 * self.flickers, self.frames),
            "class_switches": (self.class_switches, all_tracks),
            "fragments": (self.fragments, ever_found),
            "found": (self.found / self.frames, all_tracks),
            "longest_gap": (self.longest_gap, ever_found),
            "center_jitter": (np.nan_to_num(self.center_jitter), ~np.isnan(self.center_jitter)),
            "size_jitter": (np.nan_to_num(self.size_jitter), ~np.isnan(self.size_jitter)),
            "interpolated": (none, none) if filled is None else (filled, self.found),
        }

    def _count(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count the chosen frames (P,) of each track, (T,)."""
        return np.add.reduceat(chosen.astype(np.int64), self.offsets[:-1])

    def as_dict(self) -> dict[str, Any]:
        """Return the measures over all tracks as JSON values, with None for NaN."""
        numbers: dict[str, Any] = json_numbers(self.measures())
        if (samples := self.samples()) is not None:
            intervals = {name: percentile_interval(values) for name, values in samples.items()}
            numbers["intervals"] = {n: None if i is None else [i.low, i.high] for n, i in intervals.items()}
        counts = {"tracks": len(self), "never_found": self.never_found, "track_frames": len(self.state)}
        return {"score_threshold": self.score_threshold, **counts, **numbers}


MEASURES = {
    "flickers": "Runs of frames in which the object is not found, between two frames in which it is found.",
    "class_switches": "Changes of the detected class of an object.",
    "fragments": "Runs of frames in which the object is found, for tracks that are found at all; 1 is best.",
    "found": "Share of a track's frames in which the object is found.",
    "longest_gap": "Frames of the longest run in which the object is not found, between two in which it is.",
    "center_jitter": "Standard deviation of a box's offset from the object, relative to the object's size.",
    "size_jitter": "Standard deviation of a box's scale and aspect ratio, relative to the object's.",
    "interpolated": "Share of the found frames in which only an interpolated box finds the object.",
}
"""What each measure means."""


def json_numbers(measures: Mapping[str, float]) -> dict[str, float | None]:
    """Return measures as JSON values, with None for NaN."""
    return {name: None if np.isnan(value) else value for name, value in measures.items()}


def least_steady(runs: Sequence[Steadiness], *, most: int) -> list[tuple[int, ...]]:
    """Choose the tracks with the most flickers and class switches, and then those that are found least.

    Args:
        runs: Steadiness of one or several runs on the same data set.
        most: Largest number of tracks.

    Returns:
        The index of each chosen track in each of `runs`. A track that one run lacks, because nothing was
        detected in any of its frames, is not chosen.
    """
    places = [
        {key: t for t, key in enumerate(zip(*(x.tolist() for x in (r.video, r.track, r.label)), strict=True))}
        for r in runs
    ]
    common = [tuple(place[key] for place in places) for key in places[0] if all(key in p for p in places)]

    def unsteady(tracks: tuple[int, ...]) -> tuple[int, float]:
        pairs = list(zip(runs, tracks, strict=True))
        changes = sum(int(r.flickers[t] + r.class_switches[t]) for r, t in pairs)
        return -changes, sum(float(r.found[t] / r.frames[t]) for r, t in pairs)

    return sorted(common, key=unsteady)[:most]


def _sums(
    terms: tuple[NDArray[Any], NDArray[Any]], group: NDArray[Any], groups: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the sums of both terms of a measure over the tracks of each group."""
    numerator, denominator = (np.bincount(group, term, groups) for term in terms)
    return numerator, denominator


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """Divide sums over tracks by numbers of tracks or frames; NaN where there are none."""
    counts = np.asarray(denominator, np.float64)
    ratio: NDArray[np.float64] = np.asarray(numerator) / np.where(counts > 0, counts, np.nan)
    return ratio
