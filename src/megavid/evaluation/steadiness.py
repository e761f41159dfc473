"""Measure how steadily objects are found over time: flickers, class switches, fragments, gaps and jitter.

AP judges frames one by one, so it hardly tells an object that is found in every other frame from one that is
found in the first half of its frames. These measures look at the annotated tracks, at one score threshold:
that of the best F1 (`best_f1`) of the same predictions, so that detectors whose scores have other scales can
be compared.

In each frame of a track, the object is *found* if a detection of its class is matched to it by the rules of
`average_precision`; *of the wrong class* if it is not found, but one of the remaining detections is matched
to it whatever its class, as in the confusion matrix; otherwise *lost*. Fragments and flickers count as in the
CLEAR MOT metrics (Bernardin and Stiefelhagen, EURASIP Journal on Image and Video Processing, 2008), jitter as
the center position error and the scale and ratio error of Zhang and Wang, "On The Stability of Video
Detection and Tracking", arXiv:1611.06467, 2016.

Shapes: N detections, M objects, V videos, T tracks, P frames of all tracks together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.matching import match_classes, match_remaining

STATES = ("lost", "wrong class", "found")
"""States of an object in a frame; `Steadiness.state` contains indexes into this tuple."""

_WRONG_CLASS, _FOUND = 1, 2


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
        flickers: int64 (T,), number of gaps: runs of frames between two frames in which the object is found,
            in which it is not. What comes before the first and after the last such frame is no gap.
        longest_gap: int64 (T,), number of frames of the longest gap; 0 if there is none.
        center_jitter: float64 (T,), sum of the standard deviations of the detections' offsets from the truth
            along x and along y, as shares of the object's width and height; NaN if the object is found in
            fewer than two frames.
        size_jitter: float64 (T,), sum of the standard deviations of the detections' scale (the square root of
            the area) and aspect ratio, each divided by the truth's; NaN like `center_jitter`.
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
        return np.add.reduceat((self.state == _FOUND).astype(np.int64), self.offsets[:-1])

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
        tracks that are found in at least two frames.
        """
        some = self.found > 0
        return {
            "flickers": 100 * float(self.flickers.sum()) / len(self.state),
            "class_switches": float(self.class_switches.mean()),
            "fragments": _mean(self.fragments[some]),
            "found": float((self.found / self.frames).mean()),
            "longest_gap": _mean(self.longest_gap[some]),
            "center_jitter": _mean(self.center_jitter),
            "size_jitter": _mean(self.size_jitter),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the measures over all tracks as JSON values, with None for NaN."""
        numbers = {name: None if np.isnan(x) else x for name, x in self.measures().items()}
        counts = {"tracks": len(self), "never_found": self.never_found, "track_frames": len(self.state)}
        return {"score_threshold": self.score_threshold, **counts, **numbers}


MEASURES = {
    "flickers": "gaps per 100 frames of tracks; a gap is a run of frames in which the object is not found, "
    "between two frames in which it is found",
    "class_switches": "changes of the detected class per track",
    "fragments": "runs of frames in which the object is found, per track that is found at all; 1 is best",
    "found": "share of a track's frames in which the object is found, mean over the tracks",
    "longest_gap": "number of frames of a track's longest gap, mean over the tracks that are found at all",
    "center_jitter": "standard deviation of a box's offset from the object, as a share of the object's size",
    "size_jitter": "standard deviation of a box's scale and of its aspect ratio, relative to the object's",
}
"""What each measure means."""


def measure_steadiness(
    found: Boxes,
    truth: Boxes,
    annotations: Annotations,
    *,
    score_threshold: float | None,
    detected: NDArray[np.bool_] | None = None,
) -> Steadiness | None:
    """Measure how steadily the objects with a track id are found.

    Frames of a track do not count if the object is not annotated in them or is ignored, or if the detector
    did not run on them: the frame before such frames and the frame after them are consecutive.

    Args:
        found: N detections.
        truth: M objects, in the order of `annotations`.
        annotations: The data set, F frames.
        score_threshold: Only detections with a score above this count; None if no detection counts.
        detected: bool (F,), frames that the detector ran on, from `detected_frames`; None for all.

    Returns:
        The measures; None if no object that counts has a track id.
    """
    a = annotations
    counts = (a.tracks != NO_TRACK) & ~a.difficult
    rows = np.flatnonzero(counts if detected is None else counts & detected[truth.frame])
    if len(rows) == 0:
        return None
    video, id_, label, frame = a.video[truth.frame], a.tracks, a.labels, truth.frame
    rows = rows[np.lexsort((frame[rows], label[rows], id_[rows], video[rows]))]
    key = np.stack((video[rows], id_[rows], label[rows]))
    starts = np.flatnonzero(np.append(True, (key[:, 1:] != key[:, :-1]).any(axis=0)))
    offsets = np.append(starts, len(rows))
    track = np.repeat(np.arange(len(starts)), np.diff(offsets))
    detection, state = _detections_on(found, truth, a.difficult, score_threshold, num_frames=len(a))
    detection, state = detection[rows], state[rows]
    flickers, longest_gap = _gaps(track, state, len(starts))
    hits = np.flatnonzero(state == _FOUND)
    center_jitter, size_jitter = _jitter(
        found.xyxy[detection[hits]], truth.xyxy[rows[hits]], track[hits], len(starts)
    )
    return Steadiness(
        score_threshold=score_threshold,
        videos=a.videos,
        video=video[rows[starts]],
        track=id_[rows[starts]],
        label=label[rows[starts]],
        offsets=offsets,
        number=a.number[frame[rows]],
        state=state,
        class_switches=_class_switches(found, detection, track, len(starts)),
        flickers=flickers,
        longest_gap=longest_gap,
        center_jitter=center_jitter,
        size_jitter=size_jitter,
    )


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


def _detections_on(
    found: Boxes,
    truth: Boxes,
    ignored: NDArray[np.bool_],
    score_threshold: float | None,
    *,
    num_frames: int,
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the row of the detection on each object, -1 for none, and the object's state, (M,) each."""
    assert found.score is not None
    detection, state = np.full(len(truth), -1, np.int64), np.zeros(len(truth), np.int8)
    if score_threshold is None:
        return detection, state
    rows = np.flatnonzero(found.score > score_threshold)
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    chosen = found.take(rows)
    matched = match_classes(chosen, truth, num_frames=num_frames)
    others = match_remaining(chosen, truth, matched, num_frames=num_frames, ignored=ignored)
    for objects, value in ((matched, _FOUND), (others, _WRONG_CLASS)):
        some = objects >= 0
        detection[objects[some]] = rows[some]
        state[objects[some]] = value
    return detection, state


def _gaps(
    track: NDArray[np.int64], state: NDArray[np.int8], tracks: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of gaps of each track, and the length of the longest one, (T,) each."""
    hits = np.flatnonzero(state == _FOUND)
    gap = np.diff(hits) - 1
    inside = (gap > 0) & (np.diff(track[hits]) == 0)
    where = track[hits[:-1][inside]] if len(hits) else hits
    longest = np.zeros(tracks, np.int64)
    np.maximum.at(longest, where, gap[inside])
    return np.bincount(where, minlength=tracks), longest


def _class_switches(
    found: Boxes, detection: NDArray[np.int64], track: NDArray[np.int64], tracks: int
) -> NDArray[np.int64]:
    """Return how often the class of the detection on each track changes, (T,)."""
    seen = np.flatnonzero(detection >= 0)
    change = (np.diff(found.label[detection[seen]]) != 0) & (np.diff(track[seen]) == 0)
    return np.bincount(track[seen][1:][change], minlength=tracks)


def _jitter(
    found: NDArray[Any], truth: NDArray[Any], track: NDArray[np.int64], tracks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the jitter of the centers and of the sizes of each track, (T,) each.

    Args:
        found: (K, 4), detections that found an object.
        truth: (K, 4), the objects.
        track: (K,), the object's track.
        tracks: Number of tracks, T.
    """
    sides = [(xyxy[:, 2:] - xyxy[:, :2]).astype(np.float64) for xyxy in (found, truth)]
    solid = np.concatenate(sides, axis=1).min(axis=1, initial=np.inf) > 0
    side, true_side = (one[solid] for one in sides)
    track = track[solid]
    center, true_center = (
        xyxy[solid].astype(np.float64).reshape(-1, 2, 2).mean(axis=1) for xyxy in (found, truth)
    )
    ratio = side / true_side
    offset = (center - true_center) / true_side
    scale, aspect = np.sqrt(ratio.prod(axis=1)), ratio[:, 0] / ratio[:, 1]
    deviations = [_deviation(values, track, tracks) for values in (*offset.T, scale, aspect)]
    return deviations[0] + deviations[1], deviations[2] + deviations[3]


def _deviation(values: NDArray[np.float64], track: NDArray[np.int64], tracks: int) -> NDArray[np.float64]:
    """Return the standard deviation of the values of each track, (T,); NaN with fewer than two values."""
    count = np.bincount(track, minlength=tracks)
    mean = np.bincount(track, values, tracks) / np.maximum(count, 1)
    squares = np.bincount(track, (values - mean[track]) ** 2, tracks)
    deviation: NDArray[np.float64] = np.sqrt(squares / np.where(count > 1, count, np.nan))
    return deviation


def _mean(values: NDArray[Any]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
