"""Average precision as the original release computes it, also for slow, medium and fast objects.

AP50: precision and recall at an IoU of 0.5 over the whole data set, the area under the precision's monotone
envelope (PASCAL VOC, Everingham et al., IJCV 2015, section 4.2). By motion: Zhu et al., "Flow-Guided Feature
Aggregation for Video Object Detection", ICCV 2017, section 5.1.

Shapes: N detections, M objects, C classes.
"""

from __future__ import annotations

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

    @classmethod
    def of(cls, outcomes: Outcomes) -> Curve:
        """The curve of a class's detections."""
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
        """(K,), the best precision at that recall or a higher one."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]

    @property
    def ap(self) -> float:
        """The area under the envelope; NaN without objects."""
        return float(self.envelope.sum() / self.objects) if self.objects else np.nan


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

    def of(self, label: int | None) -> float:
        """Return the average precision of a class, or the mean over classes if `label` is None."""
        return self.mean if label is None else self.curves[label].ap


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
    curves = outcomes_by_class(
        found,
        truth,
        [selection],
        lambda outcomes: Curve.of(outcomes[0]),
        num_frames=num_frames,
        num_classes=num_classes,
    )
    return AveragePrecision(tuple(curves))


def average_precision_by_motion(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    motion_iou: ArrayLike | None,
) -> dict[str, AveragePrecision]:
    """AP50 overall and by motion, by the names of `MOTION_RANGES`; overall alone without `motion_iou`.

    The same as `average_precision` for each, in less time. Overall, objects of any motion count.

    Args:
        found: As there, and so all of the following.
        truth: M objects.
        num_frames: Frames.
        num_classes: Classes.
        motion_iou: (M,) or None.
    """
    selections = select_by_motion(truth, num_frames=num_frames, motion_iou=motion_iou)
    parts = outcomes_by_class(
        found,
        truth,
        list(selections.values()),
        lambda outcomes: [Curve.of(one) for one in outcomes],
        num_frames=num_frames,
        num_classes=num_classes,
    )
    return {name: AveragePrecision(tuple(part[i] for part in parts)) for i, name in enumerate(selections)}


def select_by_motion(
    truth: Boxes,
    *,
    num_frames: int,
    motion_iou: ArrayLike | None,
    ignored: NDArray[np.bool_] | None = None,
) -> dict[str, Selection]:
    """Select the objects that count overall and by motion.

    Args:
        truth: M objects.
        num_frames: Number of frames in the data set.
        motion_iou: (M,), motion IoU of each object, or None if it is unknown.
        ignored: bool (M,), objects that do not count whatever their motion, such as crowds.

    Returns:
        By the names of `MOTION_RANGES`; overall alone without `motion_iou`.
    """
    motion = None if motion_iou is None else _motion(motion_iou, truth)
    names = [name for name in MOTION_RANGES if name == "all" or motion is not None]
    return {
        name: _select(truth, None if name == "all" else motion, MOTION_RANGES[name], num_frames, ignored)
        for name in names
    }


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
