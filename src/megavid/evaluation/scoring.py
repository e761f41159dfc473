"""Average precision as the original release computes it, for all objects and for each range of motion.

AP50 is the area under the monotone envelope of precision over recall, at an IoU of 0.5 and over the whole
data set (PASCAL VOC, Everingham et al., IJCV 2015, section 4.2). The ranges of motion are those of Zhu et
al., "Flow-Guided Feature Aggregation for Video Object Detection", ICCV 2017, section 5.1.

Shapes: N detections, M objects, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megavid.core.errors import InputError
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.outcomes import Outcomes, Selection, outcomes_by_class

MOTION_RANGES: dict[str, tuple[float, float]] = {
    "all": (0.0, 1.0),
    "fast": (0.0, 0.7),
    "medium": (0.7, 0.9),
    "slow": (0.9, 1.0),
}
"""Range of the motion IoU of the objects that count; both ends belong to it."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of a class at its K hits, sorted by falling score.

    Attributes:
        recall: float64 (K,), recall of the detections down to each hit.
        precision: float64 (K,), precision of the detections down to each hit.
        score: float64 (K,), score of each hit.
        objects: Number of objects that count.
        found: Number of detections.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    score: NDArray[np.float64]
    objects: int
    found: int

    @classmethod
    def of(cls, outcomes: Outcomes) -> Curve:
        """Compute the curve of a class from its outcomes."""
        places = np.flatnonzero(outcomes.hit)
        true = np.arange(1, len(places) + 1)
        objects = len(outcomes.object_frame)
        return cls(
            recall=true / max(objects, 1),
            precision=true / (true + outcomes.false.cumsum()[places]),
            score=outcomes.score[places].astype(np.float64),
            objects=objects,
            found=len(outcomes.hit),
        )

    @property
    def envelope(self) -> NDArray[np.float64]:
        """(K,), for each recall, the highest precision at that or any higher recall."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]

    @property
    def ap(self) -> float:
        """Area under the envelope; NaN without objects."""
        return float(self.envelope.sum() / self.objects) if self.objects else np.nan


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """The average precision of every class.

    Attributes:
        curves: (C,), precision and recall of each class.
    """

    curves: tuple[Curve, ...]

    @property
    def ap(self) -> NDArray[np.float64]:
        """(C,), average precision of each class in [0, 1]; NaN for a class without objects that count."""
        return np.array([curve.ap for curve in self.curves])

    @property
    def mean(self) -> float:
        """Mean over the classes with objects; NaN without objects."""
        known = self.ap[~np.isnan(self.ap)]
        return float(known.mean()) if len(known) else np.nan

    def of(self, label: int | None) -> float:
        """Return the average precision of a class, or the mean over classes if `label` is None."""
        return self.mean if label is None else self.curves[label].ap


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
    """Compute the AP50 of the objects in one range of motion.

    Objects outside the range are ignored: a detection that is matched to one is neither a hit nor a false
    positive. A false positive may weigh less than 1 (`matching.false_positive_weights`). In a frame without
    objects of its class, it weighs as much as the share of all objects that are in the range, or 1 if that
    share is 0 or 1.

    Args:
        found: N detections. Those with equal scores are ordered by frame, then by row.
        truth: M objects.
        num_frames: Number of frames in the data set, with or without boxes.
        num_classes: Number of classes, C.
        motion_iou: (M,), IoU of each object's box with its boxes in neighboring frames. NaN means unknown
            motion, which is outside every range. If None, all objects count.
        motion_range: Range of the motion IoU of the objects that count, both ends included.
        count_empty_frames: Whether each frame without objects counts as one object with a motion IoU of 0
            when the share of objects in the range is computed, as in ImageNet VID's official evaluation.

    Raises:
        InputError: Shapes do not match, or a frame or label is out of range.

    Examples:
        >>> result = average_precision(found, truth, num_frames=100, num_classes=30)
        >>> print(result.mean, result.ap[4])
    """
    motion = None if motion_iou is None else _motion(motion_iou, truth)
    selection = _select(truth, motion, motion_range, num_frames if count_empty_frames else None)
    [result] = average_precisions(found, truth, [selection], num_frames=num_frames, num_classes=num_classes)
    return result


def average_precision_by_motion(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    motion_iou: ArrayLike | None,
) -> dict[str, AveragePrecision]:
    """Compute the AP50 of the objects in each of `MOTION_RANGES`, which include "all".

    The results equal those of `average_precision` for each range, but take less time.

    Args:
        found: N detections; see `average_precision` for all arguments.
        truth: M objects.
        num_frames: Number of frames in the data set.
        num_classes: Number of classes, C.
        motion_iou: (M,), or None to compute only "all".

    Returns:
        AP50 keyed by the names in `MOTION_RANGES`; "all" includes objects of unknown motion.

    Raises:
        InputError: Shapes do not match, or a frame or label is out of range.
    """
    selections = select_by_motion(truth, num_frames=num_frames, motion_iou=motion_iou)
    results = average_precisions(
        found, truth, list(selections.values()), num_frames=num_frames, num_classes=num_classes
    )
    return dict(zip(selections, results, strict=True))


def select_by_motion(
    truth: Boxes,
    *,
    num_frames: int,
    motion_iou: ArrayLike | None,
    ignored: NDArray[np.bool_] | None = None,
) -> dict[str, Selection]:
    """Select the objects in each of `MOTION_RANGES`; "all" includes objects of unknown motion.

    Args:
        truth: M objects.
        num_frames: Number of frames in the data set.
        motion_iou: (M,), motion IoU of each object; None if it is unknown.
        ignored: bool (M,), objects that never count, whatever their motion, such as crowds.

    Returns:
        Selections keyed by the names in `MOTION_RANGES`; only "all" without `motion_iou`.
    """
    motion = None if motion_iou is None else _motion(motion_iou, truth)
    names = [name for name in MOTION_RANGES if name == "all" or motion is not None]
    return {
        name: _select(truth, None if name == "all" else motion, MOTION_RANGES[name], num_frames, ignored)
        for name in names
    }


def average_precisions(
    found: Boxes, truth: Boxes, selections: Sequence[Selection], *, num_frames: int, num_classes: int
) -> list[AveragePrecision]:
    """Compute the AP50 for each of several selections of what counts; see `outcomes_by_class`."""
    curves = outcomes_by_class(
        found,
        truth,
        selections,
        lambda outcomes: [Curve.of(one) for one in outcomes],
        num_frames=num_frames,
        num_classes=num_classes,
    )
    return [AveragePrecision(tuple(of_class[i] for of_class in curves)) for i in range(len(selections))]


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
) -> Selection:
    """Select the objects in a range of motion; with `num_frames`, count frames without objects, too."""
    low, high = motion_range
    candidates = np.ones(len(truth), np.bool_) if ignored is None else ~ignored
    if motion is None:
        return Selection(~candidates)
    inside = candidates & (motion >= low) & (motion <= high)
    count, total = int(inside.sum()), int(candidates.sum())
    if num_frames is not None:
        empty = num_frames - len(np.unique(truth.frame))
        count, total = count + empty * (low <= 0 <= high), total + empty
    return Selection(~inside, elsewhere=count / total if 0 < count < total else 1.0)
