"""Classify detections as hits, false positives or neither, by the original release's rules.

Shapes: N detections, M objects, C classes; for one class, n detections and m objects that count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.machine.cores import usable_cores
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.matching import Overlaps, false_positive_weights, find_overlaps, match

Reduced = TypeVar("Reduced")


@dataclass(frozen=True, eq=False)
class Selection:
    """A choice of the objects and false positives that count.

    Attributes:
        ignored: bool (M,), objects that do not count: a detection matched to one is neither a hit nor a false
            positive.
        elsewhere: Weight of a false positive in a frame without objects of its class.
        forgiving: bool (M,), a false positive has weight 0 if one of these objects overlaps it most; None for
            the `ignored` objects.
        judged: bool (N,), detections that can be false positives; None for all.
    """

    ignored: NDArray[np.bool_]
    elsewhere: float = 1.0
    forgiving: NDArray[np.bool_] | None = None
    judged: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The detections of a class, sorted by falling score, and the objects that count.

    Attributes:
        frame: int (n,), frame of each detection.
        score: float (n,), score of each detection.
        hit: bool (n,), whether the detection finds an object that counts.
        false: float64 (n,), weight of the detection as a false positive: 0 if it is not one, usually 1 if it
            is.
        object_frame: int (m,), frame of each object that counts.
    """

    frame: NDArray[Any]
    score: NDArray[Any]
    hit: NDArray[np.bool_]
    false: NDArray[np.float64]
    object_frame: NDArray[Any]


def outcomes_by_class(
    found: Boxes,
    truth: Boxes,
    selections: Sequence[Selection],
    reduce: Callable[[list[Outcomes]], Reduced],
    *,
    num_frames: int,
    num_classes: int,
) -> list[Reduced]:
    """Match the detections of each class to its objects, on several threads.

    Args:
        found: N detections. Detections with equal scores are ordered by frame, then by row.
        truth: M objects.
        selections: Choices of what counts; outcomes are computed for each choice.
        reduce: Called with the outcomes of a class, one for each selection; returns what to keep of them.
        num_frames: Number of frames in the data set.
        num_classes: Number of classes, C.

    Returns:
        (C,), the results of `reduce`.

    Raises:
        InputError: Shapes do not match, or a frame or label is out of range.
    """
    if (score := found.score) is None:
        raise InputError("found: expected boxes with scores")
    found.check(name="found", num_frames=num_frames, num_classes=num_classes)
    truth.check(name="truth", num_frames=num_frames, num_classes=num_classes)

    def outcomes_of_class(found_rows: NDArray[np.int64], truth_rows: NDArray[np.int64]) -> Reduced:
        # The rows are in the order of frames, which a stable sort keeps for equal scores.
        found_rows = found_rows[np.argsort(-score[found_rows], kind="stable")]
        overlaps = find_overlaps(found.take(found_rows), truth.take(truth_rows), num_frames=num_frames)
        return reduce([_outcomes(overlaps, found_rows, truth_rows, s) for s in selections])

    # NumPy releases the interpreter's lock most of the time, so the threads run in parallel.
    rows = _rows_by_class(found, num_classes), _rows_by_class(truth, num_classes)
    with ThreadPoolExecutor(min(usable_cores(), 8)) as pool:
        return list(pool.map(outcomes_of_class, *rows))


def _outcomes(
    overlaps: Overlaps, found_rows: NDArray[np.int64], truth_rows: NDArray[np.int64], selection: Selection
) -> Outcomes:
    ignored = selection.ignored[truth_rows]
    forgiving = ignored if selection.forgiving is None else selection.forgiving[truth_rows]
    matched = match(overlaps, ignored)
    some = matched >= 0
    hit = np.zeros(len(matched), np.bool_)
    hit[some] = ~ignored[matched[some]]
    weights = false_positive_weights(overlaps, forgiving, elsewhere=selection.elsewhere)
    if selection.judged is not None:
        weights *= selection.judged[found_rows]
    return Outcomes(
        frame=overlaps.frame,
        score=overlaps.score,
        hit=hit,
        false=np.where(some, 0.0, weights),
        object_frame=overlaps.object_frame[~ignored],
    )


def _rows_by_class(boxes: Boxes, num_classes: int) -> list[NDArray[np.int64]]:
    """Return the rows of each class, in the order of frames."""
    # NumPy sorts 16-bit integers in linear time.
    label = boxes.label.astype(np.uint16) if num_classes < 2**16 else boxes.label
    order = np.argsort(label, kind="stable")
    ends = np.bincount(boxes.label, minlength=num_classes).cumsum()
    rows = np.split(order, ends[:-1])
    if (np.diff(boxes.frame) < 0).any():
        rows = [part[np.argsort(boxes.frame[part], kind="stable")] for part in rows]
    return rows
