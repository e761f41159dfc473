"""Match detections to objects, by the rules of the original release.

Shapes, unless stated otherwise: N detections of one class, sorted by falling score; G objects of the class,
sorted by frame; P pairs of a detection and an object in the same frame; F frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.iou import paired_iou
from megavid.evaluation.boxes import Boxes

IOU_THRESHOLD = 0.5

_EXTRA_PIXEL = np.array((0.0, 0.0, 1.0, 1.0))
"""Added to half-open boxes: the original release's IoU counts the last pixel of a box twice."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The overlaps of the detections of a class with the objects of that class.

    Attributes:
        frame: int (N,), frame of each detection.
        score: float (N,), score of each detection, falling.
        object_frame: int (G,), frame of each object, rising.
        pair_detection: int (P,), detection of each pair; pairs are ordered by detection, then by object.
        pair_object: int (P,), object of each pair.
        pair_iou: float64 (P,), IoU of each pair.
        pair_is_best: bool (P,), whether no other object has a higher IoU with the detection.
        objects_in_frame: int (F,), number of objects in each frame.
    """

    frame: NDArray[Any]
    score: NDArray[Any]
    object_frame: NDArray[Any]
    pair_detection: NDArray[np.int64]
    pair_object: NDArray[np.int64]
    pair_iou: NDArray[np.float64]
    pair_is_best: NDArray[np.bool_]
    objects_in_frame: NDArray[np.int64]


def find_overlaps(found: Boxes, truth: Boxes, *, num_frames: int) -> Overlaps:
    """Compute the overlaps of one class.

    Args:
        found: N detections of the class, sorted by falling score.
        truth: G objects of the class, sorted by frame.
        num_frames: Number of frames, F.
    """
    assert found.score is not None
    detections, places, iou = pair_up(found, truth, num_frames=num_frames)
    counts = np.bincount(truth.frame, minlength=num_frames)
    objects = counts[found.frame]
    first_pair = objects.cumsum() - objects
    some = objects > 0
    best = np.maximum.reduceat(iou, first_pair[some]) if some.any() else iou
    return Overlaps(
        frame=found.frame,
        score=found.score,
        object_frame=truth.frame,
        pair_detection=detections,
        pair_object=places,
        pair_iou=iou,
        pair_is_best=iou == np.repeat(best, objects[some]),
        objects_in_frame=counts,
    )


def pair_up(
    found: Boxes, truth: Boxes, *, num_frames: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pair each detection with each object of its frame.

    Args:
        found: Detections.
        truth: Objects, sorted by frame.
        num_frames: Number of frames, F.

    Returns:
        Three arrays (P,): the row of each pair's detection, the row of its object, and their IoU.
    """
    counts = np.bincount(truth.frame, minlength=num_frames)
    starts = counts.cumsum() - counts
    objects = counts[found.frame]
    detections = np.repeat(np.arange(len(found)), objects)
    first_pair = objects.cumsum() - objects
    places = starts[found.frame[detections]] + np.arange(len(detections)) - first_pair[detections]
    iou = paired_iou(found.xyxy[detections] + _EXTRA_PIXEL, truth.xyxy[places] + _EXTRA_PIXEL)
    return detections, places, iou


def match(overlaps: Overlaps, ignored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Match each detection, by falling score, to the free object of its frame with the highest IoU.

    A detection is matched only if that IoU is at least 0.5. Of objects with equal IoU, one that is not
    ignored is preferred.

    Args:
        overlaps: The overlaps of the class.
        ignored: bool (G,), objects that do not count.

    Returns:
        (N,), row of the object that each detection is matched to, -1 for none.
    """
    matched = np.full(len(overlaps.frame), -1, np.int64)
    near = np.flatnonzero(overlaps.pair_iou >= IOU_THRESHOLD)
    detection, object_ = overlaps.pair_detection[near], overlaps.pair_object[near]
    alone = overlaps.objects_in_frame[overlaps.frame[detection]] == 1
    taken, first = np.unique(object_[alone], return_index=True)
    matched[detection[alone][first]] = taken
    detection, object_, iou = detection[~alone], object_[~alone], overlaps.pair_iou[near][~alone]
    # Detections are matched in turns. A turn has at most one detection of each frame, so that its detections
    # do not compete for an object.
    turn = _turns(detection, overlaps.frame)
    order = np.lexsort((object_, ignored[object_], -iou, detection, turn))
    detection, object_, turn = detection[order], object_[order], turn[order]
    free = np.ones(len(ignored), np.bool_)
    ends = np.flatnonzero(np.diff(turn, append=-1)) + 1
    start = 0
    for end in ends.tolist():
        rows = start + np.flatnonzero(free[object_[start:end]])
        start = end
        rows = rows[_first_of_each(detection[rows])]
        matched[detection[rows]] = object_[rows]
        free[object_[rows]] = False
    return matched


def match_classes(found: Boxes, truth: Boxes, *, num_frames: int) -> NDArray[np.int64]:
    """Match the detections of each class to the objects of that class; no object is ignored.

    Args:
        found: K detections of all classes, sorted by falling score.
        truth: M objects of all classes, in any order.
        num_frames: Number of frames, F.

    Returns:
        (K,), row of the object that each detection finds, -1 for none.
    """
    matched = np.full(len(found), -1, np.int64)
    for label in np.unique(found.label).tolist():
        ours, theirs = np.flatnonzero(found.label == label), np.flatnonzero(truth.label == label)
        theirs = theirs[np.argsort(truth.frame[theirs], kind="stable")]
        overlaps = find_overlaps(found.take(ours), truth.take(theirs), num_frames=num_frames)
        places = match(overlaps, np.zeros(len(theirs), np.bool_))
        hits = places >= 0
        matched[ours[hits]] = theirs[places[hits]]
    return matched


def match_remaining(
    found: Boxes,
    truth: Boxes,
    matched: NDArray[np.int64],
    *,
    num_frames: int,
    ignored: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Match the detections that found no object of their class to the remaining objects of any class.

    Args:
        found: K detections of all classes, sorted by falling score.
        truth: M objects of all classes, in any order.
        matched: (K,), the result of `match_classes`.
        num_frames: Number of frames, F.
        ignored: bool (M,), objects that do not count.

    Returns:
        (K,), row of the object that each detection is matched to here; -1 for none, and for the detections
        that have a match in `matched`.
    """
    others = np.flatnonzero(matched < 0)
    free = np.ones(len(truth), np.bool_)
    free[matched[matched >= 0]] = False
    objects = np.flatnonzero(free)
    objects = objects[np.argsort(truth.frame[objects], kind="stable")]
    overlaps = find_overlaps(found.take(others), truth.take(objects), num_frames=num_frames)
    places = match(overlaps, ignored[objects])
    some = places >= 0
    result = np.full(len(found), -1, np.int64)
    result[others[some]] = objects[places[some]]
    return result


def false_positive_weights(
    overlaps: Overlaps, ignored: NDArray[np.bool_], *, elsewhere: float
) -> NDArray[np.float64]:
    """Compute the weight of each detection as a false positive.

    In a frame with objects of the class, the weight is 0 if the object with the highest IoU is ignored, and 1
    if it counts. If an ignored object and one that counts both have the highest IoU, the weight is the share
    of ignored ones among the class's objects in the frame.

    Args:
        overlaps: The overlaps of the class.
        ignored: bool (G,), objects that do not count.
        elsewhere: Weight of a detection in a frame without objects of the class.

    Returns:
        (N,), the weights.
    """
    weights = np.full(len(overlaps.frame), elsewhere)
    best = np.flatnonzero(overlaps.pair_is_best)
    detection = overlaps.pair_detection[best]
    n = len(weights)
    nearest = np.bincount(detection, minlength=n)
    nearest_ignored = np.bincount(detection[ignored[overlaps.pair_object[best]]], minlength=n)
    has_objects = nearest > 0
    weights[has_objects] = nearest_ignored[has_objects] == 0
    tie = (nearest_ignored > 0) & (nearest_ignored < nearest)
    frames = len(overlaps.objects_in_frame)
    ignored_in_frame = np.bincount(overlaps.object_frame[ignored], minlength=frames)
    frame = overlaps.frame[tie]
    weights[tie] = ignored_in_frame[frame] / overlaps.objects_in_frame[frame]
    return weights


def _turns(detection: NDArray[np.int64], frames: NDArray[Any]) -> NDArray[np.int64]:
    """Return, for each pair, how many detections of the same frame come before the pair's detection."""
    starts = _first_of_each(detection)
    frame = frames[detection[starts]]
    order = np.argsort(frame, kind="stable")
    place = np.arange(len(order))
    group = _first_of_each(frame[order])
    turn = np.empty(len(order), np.int64)
    turn[order] = place - np.repeat(group, np.diff(group, append=len(order)))
    return np.repeat(turn, np.diff(starts, append=len(detection)))


def _first_of_each(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return where each run of equal values begins."""
    return np.flatnonzero(np.diff(values, prepend=-1))
