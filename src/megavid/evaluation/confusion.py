"""Build a confusion matrix: how often objects of each class are detected as each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.error_analysis import Errors
from megavid.evaluation.matching import match_remaining

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
    n, ignored = len(classes), errors.ignored
    label, hit = found.label[errors.rows], errors.matched >= 0
    others = match_remaining(
        found.take(errors.rows), truth, errors.matched, num_frames=num_frames, ignored=ignored
    )
    object_ = np.where(hit, errors.matched, others)  # the object that each detection is on, -1 for none
    some = object_ >= 0
    counted = some.copy()
    counted[some] = ~ignored[object_[some]]
    counts = np.zeros((n + 1, n + 1), np.int64)
    np.add.at(counts, (truth.label[object_[counted]], label[counted]), 1)
    counts[n] += np.bincount(label[~some], minlength=n + 1)
    missed = ~ignored
    missed[object_[some]] = False
    counts[:, n] += np.bincount(truth.label[missed], minlength=n + 1)
    return Confusion(tuple(classes), counts, errors.score_threshold)
