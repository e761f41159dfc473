"""Average precision as the original release computes it, also for slow, medium and fast objects.

AP50: precision and recall at an IoU of 0.5 over the whole data set, the area under the precision's monotone
envelope (PASCAL VOC, Everingham et al., IJCV 2015, section 4.2). By motion: Zhu et al., "Flow-Guided Feature
Aggregation for Video Object Detection", ICCV 2017, section 5.1.

Shapes: N detections, M objects, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megavid.core.cores import usable_cores
from megavid.core.errors import InputError
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.matching import Overlaps, false_positive_weights, find_overlaps, match

MOTION_RANGES: dict[str, tuple[float, float]] = {
    "all": (0.0, 1.0),
    "fast": (0.0, 0.7),
    "medium": (0.7, 0.9),
    "slow": (0.9, 1.0),
}
"""Motion IoU of the objects that count, both ends included."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of a class where they can change for the better: at its true positives.

    Attributes:
        recall, precision, score: float64 (K,), by falling score.
        objects: Objects that count.
        found: Detections.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    score: NDArray[np.float64]
    objects: int
    found: int

    @property
    def envelope(self) -> NDArray[np.float64]:
        """(K,), the best precision at that recall or a higher one."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]

    @property
    def ap(self) -> float:
        """The area under the envelope; NaN without objects."""
        return float(self.envelope.sum() / self.objects) if self.objects else np.nan

    @property
    def ap_11_points(self) -> float:
        """The mean of the envelope at recall 0, 0.1, ..., 1, PASCAL VOC's metric until 2007."""
        if not self.objects:
            return np.nan
        places = np.searchsorted(self.recall, np.arange(0.0, 1.1, 0.1))
        return float(np.append(self.envelope, 0.0)[places].mean())


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """The average precision of every class.

    Attributes:
        curves: (C,).
    """

    curves: tuple[Curve, ...]

    @property
    def ap(self) -> NDArray[np.float64]:
        """(C,), from 0 to 1; NaN for a class without counted objects."""
        return np.array([curve.ap for curve in self.curves])

    @property
    def mean(self) -> float:
        """The mean over classes that have objects; NaN if none has."""
        return mean_without_nan(self.ap)

    @property
    def mean_11_points(self) -> float:
        """The mean of `Curve.ap_11_points`."""
        return mean_without_nan(np.array([curve.ap_11_points for curve in self.curves]))


def mean_without_nan(values: NDArray[np.float64]) -> float:
    """The mean of the numbers that are not NaN; NaN if there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def average_precision(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    motion_iou: ArrayLike | None = None,
    motion_range: tuple[float, float] = (0.0, 1.0),
    count_empty_frames: bool = True,
) -> AveragePrecision:
    """AP50 of the objects in one range of motion.

    Objects outside the range are ignored: what finds one counts neither for nor against, and other
    false positives weigh less than 1 (`false_positive_weights`); in frames without the class they weigh the
    share of all objects that lie in the range, 1 where that is 0 or 1.

    Args:
        found: N detections. Of those with equal scores, the one in the earlier frame, then in the earlier row
            comes first.
        truth: M objects.
        num_frames: Frames in the data set, those without boxes too.
        num_classes: C.
        motion_iou: (M,), how much each object overlaps itself in the frames around; NaN for unknown, which is
            outside any range. None: all objects count.
        motion_range: Of those that count, both ends included.
        count_empty_frames: A frame without objects is one more entry, of motion IoU 0, in the share of
            objects in the range, as in ImageNet VID's official evaluation.

    Raises:
        InputError: Shapes, frames or labels don't fit.

    Examples:
        >>> result = average_precision(found, truth, num_frames=100, num_classes=30)
        >>> print(result.mean, result.ap[4])
    """
    motion = None if motion_iou is None else _motion(motion_iou, truth)
    selection = _select(truth, motion, motion_range, num_frames if count_empty_frames else None)
    [result] = _evaluate(found, truth, [selection], num_frames=num_frames, num_classes=num_classes)
    return result


def average_precision_by_motion(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    motion_iou: ArrayLike | None,
    ignored: NDArray[np.bool_] | None = None,
    count_empty_frames: bool = True,
) -> dict[str, AveragePrecision]:
    """AP50 overall and by motion, by the names of `MOTION_RANGES`; overall alone without `motion_iou`.

    The same as `average_precision` for each, in less time. Overall, objects of any motion count.

    Args:
        found: As there, and so all of the following.
        truth: M objects.
        num_frames: Frames.
        num_classes: Classes.
        motion_iou: (M,) or None.
        ignored: bool (M,), objects that do not count whatever their motion: crowds, those too difficult.
        count_empty_frames: Whether frames without objects count.
    """
    motion = None if motion_iou is None else _motion(motion_iou, truth)
    names = [name for name in MOTION_RANGES if name == "all" or motion is not None]
    counted = num_frames if count_empty_frames else None
    selections = [
        _select(truth, None if name == "all" else motion, MOTION_RANGES[name], counted, ignored)
        for name in names
    ]
    results = _evaluate(found, truth, selections, num_frames=num_frames, num_classes=num_classes)
    return dict(zip(names, results, strict=True))


@dataclass(frozen=True, eq=False)
class _Selection:
    """Which objects count.

    Attributes:
        ignored: bool (M,).
        share: The share of objects that count, 1 where none or all do.
    """

    ignored: NDArray[np.bool_]
    share: float


def _motion(motion_iou: ArrayLike, truth: Boxes) -> NDArray[np.float64]:
    motion = np.asarray(motion_iou, np.float64)
    if motion.shape != (len(truth),):
        raise InputError(f"motion_iou: expected shape ({len(truth)},), got {motion.shape}")
    return motion


def _select(
    truth: Boxes,
    motion: NDArray[np.float64] | None,
    motion_range: tuple[float, float],
    num_frames: int | None,
    ignored: NDArray[np.bool_] | None = None,
) -> _Selection:
    low, high = motion_range
    candidates = np.ones(len(truth), np.bool_) if ignored is None else ~ignored
    if motion is None:
        return _Selection(~candidates, 1.0)
    inside = candidates & (motion >= low) & (motion <= high)
    count, total = int(inside.sum()), int(candidates.sum())
    if num_frames is not None:
        empty = num_frames - len(np.unique(truth.frame))
        count, total = count + empty * (low <= 0 <= high), total + empty
    return _Selection(~inside, count / total if 0 < count < total else 1.0)


def _evaluate(
    found: Boxes, truth: Boxes, selections: Sequence[_Selection], *, num_frames: int, num_classes: int
) -> list[AveragePrecision]:
    """The result for each selection of objects."""
    score = found.score
    if score is None:
        raise InputError("found: expected boxes with scores")
    for name, boxes in (("found", found), ("truth", truth)):
        boxes.check(name=name, num_frames=num_frames, num_classes=num_classes)

    def curves(found_rows: NDArray[np.int64], truth_rows: NDArray[np.int64]) -> list[Curve]:
        # By score; the rows are in order of frames, and the sort keeps it where scores are equal.
        found_rows = found_rows[np.argsort(-score[found_rows], kind="stable")]
        overlaps = find_overlaps(found.take(found_rows), truth.take(truth_rows), num_frames=num_frames)
        return [_curve(overlaps, s.ignored[truth_rows], elsewhere=s.share) for s in selections]

    # Most of the time is spent in NumPy, which lets other threads work.
    with ThreadPoolExecutor(min(usable_cores(), 8)) as pool:
        parts = list(pool.map(curves, _rows_by_class(found, num_classes), _rows_by_class(truth, num_classes)))
    return [AveragePrecision(tuple(part[i] for part in parts)) for i in range(len(selections))]


def _rows_by_class(boxes: Boxes, num_classes: int) -> list[NDArray[np.int64]]:
    """The rows of each class, in order of frames."""
    label = boxes.label.astype(np.uint16) if num_classes < 2**16 else boxes.label  # sorts in linear time
    order = np.argsort(label, kind="stable")
    ends = np.bincount(boxes.label, minlength=num_classes).cumsum()
    rows = np.split(order, ends[:-1])
    if (np.diff(boxes.frame) < 0).any():
        rows = [part[np.argsort(boxes.frame[part], kind="stable")] for part in rows]
    return rows


def _curve(overlaps: Overlaps, ignored: NDArray[np.bool_], *, elsewhere: float) -> Curve:
    matched = match(overlaps, ignored)
    hit = matched >= 0
    counts = np.zeros(len(matched), np.bool_)
    counts[hit] = ~ignored[matched[hit]]
    weights = false_positive_weights(overlaps, ignored, elsewhere=elsewhere)
    false = np.where(hit, 0.0, weights).cumsum()
    places = np.flatnonzero(counts)
    true = np.arange(1, len(places) + 1)
    objects = int((~ignored).sum())
    return Curve(
        recall=true / max(objects, 1),
        precision=true / (true + false[places]),
        score=overlaps.score[places].astype(np.float64),
        objects=objects,
        found=len(matched),
    )
