"""What goes wrong: errors of detections by kind, and objects that were missed.

After TIDE (Bolya et al., ECCV 2020, section 2.2), for detections above a score.

Shapes: K detections above the score, M objects, F frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.matching import IOU_THRESHOLD, find_overlaps, match, pair_up

HIT = "hit"
KINDS = {
    "class": "on an object of another class",
    "location": "on an object of its class, but the box is too far off",
    "duplicate": "on an object of its class that a better detection found",
    "background": "on nothing that is annotated",
    "missed": "objects that no detection found",
}
"""Kinds of errors and what they mean; all but the last are of detections, which are `HIT` or one of these."""

OUTCOMES = (HIT, *(kind for kind in KINDS if kind != "missed"))
"""What a detection may be; `Errors.outcome` are indexes into it."""

_NEAR = 0.1
"""IoU from which a detection is meant for an object."""

_AT_ONCE = 1 << 20
"""Detections that are compared with all objects of their frames together, to keep memory small."""


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors of a data set.

    Attributes:
        rows: int64 (K,), of the detections above the score, best first.
        outcome: int8 (K,), indexes into `OUTCOMES`.
        matched: int64 (K,), the row of the object that each of these detections found, -1 for none.
        missed: bool (M,), objects that no detection found.
        ignored: bool (M,), objects that need not be found.
        per_frame: int64 (F, 5), errors of each of `KINDS`.
        score_threshold: Lowest score, exclusive, of detections that count.
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
        """How many errors there are of each of `KINDS`."""
        return dict(zip(KINDS, self.per_frame.sum(axis=0).tolist(), strict=True))


def find_errors(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    ignored: NDArray[np.bool_] | None = None,
    score_threshold: float = 0.5,
) -> Errors:
    """Tell hits from errors, and errors by kind.

    A detection is a hit by the rules of `average_precision`. Else it is, in this order: a duplicate or of
    another class, by an IoU of at least 0.5 with an object; wrong in location, by one of at least 0.1 with an
    object of its class; or on the background.

    Args:
        found: All detections.
        truth: M objects.
        num_frames: F.
        ignored: bool (M,), objects that need not be found.
        score_threshold: Lowest score, exclusive, of detections that count.
    """
    assert found.score is not None
    rows = np.flatnonzero(found.score > score_threshold)
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    chosen = found.take(rows)
    outcome = _outcomes(chosen, truth, num_frames=num_frames)
    matched = np.full(len(rows), -1, np.int64)
    ignored = np.zeros(len(truth), np.bool_) if ignored is None else ignored
    for label in np.unique(chosen.label).tolist():
        ours, theirs = np.flatnonzero(chosen.label == label), np.flatnonzero(truth.label == label)
        theirs = theirs[np.argsort(truth.frame[theirs], kind="stable")]
        overlaps = find_overlaps(chosen.take(ours), truth.take(theirs), num_frames=num_frames)
        places = match(overlaps, np.zeros(len(theirs), np.bool_))
        hits = places >= 0
        matched[ours[hits]] = theirs[places[hits]]
    outcome[matched >= 0] = OUTCOMES.index(HIT)
    missed = ~ignored
    missed[matched[matched >= 0]] = False
    per_frame = np.zeros((num_frames, len(KINDS)), np.int64)
    for column, kind in enumerate(KINDS):
        at = truth.frame[missed] if kind == "missed" else chosen.frame[outcome == OUTCOMES.index(kind)]
        per_frame[:, column] = np.bincount(at, minlength=num_frames)
    return Errors(rows, outcome, matched, missed, ignored, per_frame, score_threshold)


def _outcomes(found: Boxes, truth: Boxes, *, num_frames: int) -> NDArray[np.int8]:
    """What each detection is if it is no hit."""
    ordered = truth.take(np.argsort(truth.frame, kind="stable"))
    of_class, of_others = np.zeros(len(found)), np.zeros(len(found))
    for start in range(0, len(found), _AT_ONCE):
        part = found.take(np.arange(start, min(start + _AT_ONCE, len(found))))
        detection, object_, iou = pair_up(part, ordered, num_frames=num_frames)
        same = part.label[detection] == ordered.label[object_]
        for highest, pairs in ((of_class, same), (of_others, ~same)):
            np.maximum.at(highest, start + detection[pairs], iou[pairs])
    kinds = np.select(
        [of_class >= IOU_THRESHOLD, of_others >= IOU_THRESHOLD, of_class >= _NEAR],
        [OUTCOMES.index(kind) for kind in ("duplicate", "class", "location")],
        OUTCOMES.index("background"),
    )
    return kinds.astype(np.int8)
