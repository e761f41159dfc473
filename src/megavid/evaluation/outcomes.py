"""What became of each detection: a hit, a false positive, or neither, by the original release's rules.

Shapes: N detections, M objects, C classes; of a class alone, n and m.
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
    """Which objects count, and what other detections than those that find one weigh.

    Attributes:
        ignored: bool (M,), objects that do not count: what finds one is neither a hit nor a false positive.
        elsewhere: The weight of a false positive in a frame without objects of its class.
        forgiving: bool (M,), objects whose false positives do not count; None for `ignored`.
        judged: bool (N,), detections that may be false positives; None for all.
    """

    ignored: NDArray[np.bool_]
    elsewhere: float = 1.0
    forgiving: NDArray[np.bool_] | None = None
    judged: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The detections of a class by falling score, and the objects that count.

    Attributes:
        frame: int (n,).
        score: float (n,).
        hit: bool (n,), whether it found an object that counts.
        false: float64 (n,), its weight as a false positive: 0 if it is none, 1 for most that are.
        object_frame: int (m,), the frame of each object that counts.
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
    """Match detections to objects, a class at a time on several threads.

    Args:
        found: N detections. Of those with equal scores, the one in the earlier frame, then in the earlier row
            comes first.
        truth: M objects.
        selections: Which objects count, once for each of the outcomes of a class.
        reduce: What to keep of a class, from its outcomes by each selection.
        num_frames: Frames in the data set.
        num_classes: C.

    Returns:
        (C,), what `reduce` returns.

    Raises:
        InputError: Shapes, frames or labels don't fit.
    """
    score = found.score
    if score is None:
        raise InputError("found: expected boxes with scores")
    for name, boxes in (("found", found), ("truth", truth)):
        boxes.check(name=name, num_frames=num_frames, num_classes=num_classes)

    def reduced(found_rows: NDArray[np.int64], truth_rows: NDArray[np.int64]) -> Reduced:
        # By score; the rows are in order of frames, and the sort keeps it where scores are equal.
        found_rows = found_rows[np.argsort(-score[found_rows], kind="stable")]
        overlaps = find_overlaps(found.take(found_rows), truth.take(truth_rows), num_frames=num_frames)
        return reduce([_outcomes(overlaps, found_rows, truth_rows, s) for s in selections])

    # Most of the time is spent in NumPy, which lets other threads work.
    with ThreadPoolExecutor(min(usable_cores(), 8)) as pool:
        return list(pool.map(reduced, _rows_by_class(found, num_classes), _rows_by_class(truth, num_classes)))


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
    """The rows of each class, in order of frames."""
    label = boxes.label.astype(np.uint16) if num_classes < 2**16 else boxes.label  # sorts in linear time
    order = np.argsort(label, kind="stable")
    ends = np.bincount(boxes.label, minlength=num_classes).cumsum()
    rows = np.split(order, ends[:-1])
    if (np.diff(boxes.frame) < 0).any():
        rows = [part[np.argsort(boxes.frame[part], kind="stable")] for part in rows]
    return rows
