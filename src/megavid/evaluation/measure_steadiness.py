"""Measure how steadily objects are found over time.

In each frame of a track, the object is *found* if a detection of its class is matched to it by the rules of
`average_precision`; *of the wrong class* if it is not found, but one of the remaining detections is matched
to it whatever its class, as in the confusion matrix; otherwise *lost*. Flickers and fragments count as in the
CLEAR MOT metrics (Bernardin and Stiefelhagen, EURASIP Journal on Image and Video Processing, 2008), jitter as
the center position error and the scale and ratio error of Zhang and Wang, "On The Stability of Video
Detection and Tracking", arXiv:1611.06467, 2016.

Shapes: N detections, M objects, F frames, T tracks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.matching import match_classes, match_remaining
from megavid.evaluation.steadiness import FOUND, LOST, WRONG_CLASS, Steadiness


def measure_steadiness(
    found: Boxes,
    truth: Boxes,
    annotations: Annotations,
    *,
    score_threshold: float | None,
    detected: NDArray[np.bool_] | None = None,
    interpolated: NDArray[np.bool_] | None = None,
) -> Steadiness | None:
    """Measure how steadily the objects with a track id are found.

    Frames in which the object is not annotated or is ignored, or on which the detector did not run, are left
    out of its track: the frame before them and the frame after them are consecutive.

    Args:
        found: N detections.
        truth: M objects, in the order of `annotations`.
        annotations: The data set, F frames.
        score_threshold: Only detections with a score above this count; None if no detection counts.
        detected: bool (F,), frames that the detector ran on, from `detected_frames`; None for all.
        interpolated: bool (N,), detections that fill a gap; None if they are not marked.

    Returns:
        The measures; None if no object that counts has a track id.
    """
    a = annotations
    counts = (a.tracks != NO_TRACK) & ~a.difficult
    rows = np.flatnonzero(counts if detected is None else counts & detected[truth.frame])
    if len(rows) == 0:
        return None
    rows, starts = _by_track(rows, a)
    offsets = np.append(starts, len(rows))
    track = np.repeat(np.arange(len(starts)), np.diff(offsets))
    detection, state = _detections_on(found, truth, a, score_threshold)
    detection, state = detection[rows], state[rows]
    only_interpolated = None
    if interpolated is not None and interpolated.any():
        _, others = _detections_on(found.take(~interpolated), truth, a, score_threshold)
        only_interpolated = (state == FOUND) & (others[rows] != FOUND)
    flickers, longest_gap = _gaps(track, state, len(starts))
    hits = np.flatnonzero(state == FOUND)
    center_jitter, size_jitter = _jitter(
        found.xyxy[detection[hits]], truth.xyxy[rows[hits]], track[hits], len(starts)
    )
    return Steadiness(
        score_threshold=score_threshold,
        videos=a.videos,
        video=a.video[truth.frame[rows[starts]]],
        track=a.tracks[rows[starts]],
        label=a.labels[rows[starts]],
        offsets=offsets,
        number=a.number[truth.frame[rows]],
        state=state,
        class_switches=_class_switches(found, detection, track, len(starts)),
        flickers=flickers,
        longest_gap=longest_gap,
        center_jitter=center_jitter,
        size_jitter=size_jitter,
        only_interpolated=only_interpolated,
    )


def _by_track(rows: NDArray[np.int64], a: Annotations) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort objects by track and time, and find the place of the first object of each track, (T,)."""
    frame = a.box_frames[rows]
    key = np.stack((a.video[frame], a.tracks[rows], a.labels[rows]))
    order = np.lexsort((frame, *key[::-1]))
    key = key[:, order]
    starts = np.flatnonzero(np.append(True, (key[:, 1:] != key[:, :-1]).any(axis=0)))
    return rows[order], starts


def _detections_on(
    found: Boxes, truth: Boxes, a: Annotations, score_threshold: float | None
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the detection on each object (its row, -1 for none) and the object's state, (M,) each."""
    assert found.score is not None
    detection, state = np.full(len(truth), -1, np.int64), np.full(len(truth), LOST, np.int8)
    if score_threshold is None:
        return detection, state
    rows = np.flatnonzero(found.score > score_threshold)
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    chosen = found.take(rows)
    matched = match_classes(chosen, truth, num_frames=len(a))
    others = match_remaining(chosen, truth, matched, num_frames=len(a), ignored=a.difficult)
    for objects, value in ((matched, FOUND), (others, WRONG_CLASS)):
        some = objects >= 0
        detection[objects[some]] = rows[some]
        state[objects[some]] = value
    return detection, state


def _gaps(
    track: NDArray[np.int64], state: NDArray[np.int8], tracks: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of gaps of each track, and the length of the longest one, (T,) each."""
    hits = np.flatnonzero(state == FOUND)
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
