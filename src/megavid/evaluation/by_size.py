"""Average precision of small, medium and large objects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.outcomes import Selection
from megavid.evaluation.scoring import AveragePrecision, average_precisions

SIZES: Mapping[str, tuple[float, float]] = {
    "small": (-np.inf, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}
"""COCO's ranges of areas in square pixels: an area is larger than the first limit, and at most the second."""


def average_precision_by_size(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    areas: NDArray[np.float64],
    ignored: NDArray[np.bool_],
) -> dict[str, AveragePrecision]:
    """Compute AP50 for each of `SIZES`.

    As in COCO, objects of other sizes are ignored, and a false positive counts only for the size that its box
    has.

    Args:
        found: N detections.
        truth: M objects.
        num_frames: Number of frames in the data set.
        num_classes: Number of classes.
        areas: (M,), area of each object in square pixels.
        ignored: bool (M,), objects that never count, whatever their size.

    Returns:
        AP50 of each size, keyed by the names in `SIZES`.

    Raises:
        InputError: Shapes do not match, or a frame or label is out of range.
    """
    sides = (found.xyxy[:, 2:] - found.xyxy[:, :2]).astype(np.float64)
    found_areas = sides.prod(axis=1)
    selections = [
        Selection(ignored | ~_within(areas, limits), forgiving=ignored, judged=_within(found_areas, limits))
        for limits in SIZES.values()
    ]
    results = average_precisions(found, truth, selections, num_frames=num_frames, num_classes=num_classes)
    return dict(zip(SIZES, results, strict=True))


def _within(areas: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.bool_]:
    low, high = limits
    inside: NDArray[np.bool_] = (areas > low) & (areas <= high)
    return inside
