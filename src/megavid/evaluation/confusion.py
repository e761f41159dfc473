"""Build a confusion matrix: how often objects of each class are detected as each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.error_analysis import Errors
from megavid.evaluation.matching import find_overlaps, match

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Confusion:
    """A confusion matrix at an IoU of 0.5.

    Attributes:
        classes: (C,) names of the classes.
        counts: int64 (C + 1, C + 1), number of matched pairs by the class of the object (row) and the class
            of the detection (column). The last row counts detections without an object, the last column
            missed objects.
        score_threshold: Only detections with a score above this count.
    """

    classes: Sequence[str]
    counts: NDArray[np.int64]
    score_threshold: float


def confusion_matrix(
    found: Boxes, truth: Boxes, errors: Errors, *, classes: Sequence[str], num_frames: int
) -> Confusion:
    """Count how often objects of each class are detected as each class.

    Hits are on the diagonal. Then each other detection, by descending score and whatever its class, is
    matched to an object of its frame that is not matched yet: the one with the highest IoU, if that is at
    least 0.5. Ignored objects and the detections matched to them are not counted.

    Args:
        found: All detections.
        truth: M objects.
        errors: The result of `find_errors` for `found` and `truth`.
        classes: (C,) names of the classes.
        num_frames: Number of frames in the data set.
    """
    n = len(classes)
    hit = errors.matched >= 0
    label, hit_object = found.label[errors.rows], errors.matched[hit]
    counts = np.zeros((n + 1, n + 1), np.int64)
    counted = ~errors.ignored[hit_object]
    np.add.at(counts, (truth.label[hit_object][counted], label[hit][counted]), 1)
    free = np.ones(len(truth), np.bool_)
    free[hit_object] = False
    others, objects = errors.rows[~hit], np.flatnonzero(free)
    objects = objects[np.argsort(truth.frame[objects], kind="stable")]
    overlaps = find_overlaps(found.take(others), truth.take(objects), num_frames=num_frames)
    taken = match(overlaps, errors.ignored[objects])
    some = taken >= 0
    object_ = objects[taken[some]]
    counted = ~errors.ignored[object_]
    np.add.at(counts, (truth.label[object_][counted], found.label[others[some]][counted]), 1)
    counts[n] += np.bincount(found.label[others[~some]], minlength=n + 1)
    free[object_] = False
    counts[:, n] += np.bincount(truth.label[free & ~errors.ignored], minlength=n + 1)
    return Confusion(tuple(classes), counts, errors.score_threshold)
