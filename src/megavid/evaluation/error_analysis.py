"""Classify the errors of detections, and find missed objects.

The kinds of errors follow TIDE (Bolya et al., ECCV 2020, section 2.2). Only detections above a score
threshold are classified.

Shapes: K detections above the score threshold, M objects, F frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.matching import IOU_THRESHOLD, match_classes, pair_up

HIT = "hit"
KINDS = {
    "class": "on an object of another class",
    "location": "on an object of its class, but with an inaccurate box",
    "duplicate": "on an object of its class that a better detection has found",
    "background": "on no annotated object",
    "missed": "objects that no detection found",
}
"""Kinds of errors, and what each means. All but "missed", which counts objects, are errors of detections."""

OUTCOMES = (HIT, *(kind for kind in KINDS if kind != "missed"))
"""Possible outcomes of a detection; `Errors.outcome` contains indexes into this tuple."""

_NEAR_IOU = 0.1
"""Lowest IoU for which a detection counts as an inaccurate detection of an object of its class."""

_DETECTIONS_AT_ONCE = 1 << 20
"""Number of detections that are compared with objects at a time, which limits memory."""


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors in a data set.

    Attributes:
        rows: int64 (K,), rows of the detections above the score threshold, best first.
        outcome: int8 (K,), indexes into `OUTCOMES`.
        matched: int64 (K,), row of the object that each detection in `rows` found, -1 for none.
        missed: bool (M,), objects that no detection found.
        ignored: bool (M,), objects that need not be found.
        per_frame: int64 (F, 5), number of errors of each kind in each frame, in the order of `KINDS`.
        score_threshold: The detections in `rows` have a score above this.
    """

    rows: NDArray[np.int64]
    outcome: NDArray[np.int8]
    matched: NDArray[np.int64]
    missed: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    per_frame: NDArray[np.int64]
    score_threshold: float

    @property
    def totals(self) -> dict[str, int]:
        """Number of errors of each kind."""
        return dict(zip(KINDS, self.per_frame.sum(axis=0).tolist(), strict=True))


def find_errors(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    ignored: NDArray[np.bool_] | None = None,
    score_threshold: float = 0.5,
) -> Errors:
    """Separate hits from errors, and classify the errors.

    Hits are found by the rules of `average_precision`. Any other detection is the first of these that
    applies: a duplicate, if its IoU with an object of its class is at least 0.5; of the wrong class, if its
    IoU with an object of another class is at least 0.5; badly located, if its IoU with an object of its class
    is at least 0.1; or on the background.

    Args:
        found: All detections.
        truth: M objects.
        num_frames: Number of frames, F.
        ignored: bool (M,), objects that need not be found.
        score_threshold: Only detections with a score above this are classified.
    """
    assert found.score is not None
    rows = np.flatnonzero(found.score > score_threshold)
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    chosen = found.take(rows)
    ignored = np.zeros(len(truth), np.bool_) if ignored is None else ignored
    matched = match_classes(chosen, truth, num_frames=num_frames)
    outcome = _outcomes_of_misses(chosen, truth, num_frames=num_frames)
    outcome[matched >= 0] = OUTCOMES.index(HIT)
    missed = ~ignored
    missed[matched[matched >= 0]] = False
    per_frame = np.zeros((num_frames, len(KINDS)), np.int64)
    for column, kind in enumerate(KINDS):
        at = truth.frame[missed] if kind == "missed" else chosen.frame[outcome == OUTCOMES.index(kind)]
        per_frame[:, column] = np.bincount(at, minlength=num_frames)
    return Errors(rows, outcome, matched, missed, ignored, per_frame, score_threshold)


def _outcomes_of_misses(found: Boxes, truth: Boxes, *, num_frames: int) -> NDArray[np.int8]:
    """Return the outcome of each detection, assuming that it is not a hit."""
    ordered = truth.take(np.argsort(truth.frame, kind="stable"))
    same_class, other_class = np.zeros(len(found)), np.zeros(len(found))  # highest IoUs
    for start in range(0, len(found), _DETECTIONS_AT_ONCE):
        part = found.take(np.arange(start, min(start + _DETECTIONS_AT_ONCE, len(found))))
        detection, object_, iou = pair_up(part, ordered, num_frames=num_frames)
        is_same = part.label[detection] == ordered.label[object_]
        for highest, pairs in ((same_class, is_same), (other_class, ~is_same)):
            np.maximum.at(highest, start + detection[pairs], iou[pairs])
    outcomes = np.select(
        [same_class >= IOU_THRESHOLD, other_class >= IOU_THRESHOLD, same_class >= _NEAR_IOU],
        [OUTCOMES.index(kind) for kind in ("duplicate", "class", "location")],
        OUTCOMES.index("background"),
    )
    return outcomes.astype(np.int8)
