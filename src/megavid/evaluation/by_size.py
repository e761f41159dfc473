"""AP50 of small, medium and large objects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.outcomes import Selection, outcomes_by_class
from megavid.evaluation.scoring import AveragePrecision, Curve

SIZES: Mapping[str, tuple[float, float]] = {
    "small": (-np.inf, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}
"""COCO's limits: square pixels of the frame, above the first and up to the second."""


def average_precision_by_size(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    areas: NDArray[np.float64],
    ignored: NDArray[np.bool_],
) -> dict[str, AveragePrecision]:
    """AP50 by the names of `SIZES`.

    As in COCO, objects of another size are ignored, and a false positive counts in the range that its own box
    is in.

    Args:
        found: N detections.
        truth: M objects.
        num_frames: Frames.
        num_classes: Classes.
        areas: (M,), square pixels of each object.
        ignored: bool (M,), objects that do not count whatever their size.

    Raises:
        InputError: Shapes, frames or labels don't fit.
    """
    sides = (found.xyxy[:, 2:] - found.xyxy[:, :2]).astype(np.float64)
    found_areas = sides.prod(axis=1)
    selections = [
        Selection(ignored | ~_within(areas, limits), forgiving=ignored, judged=_within(found_areas, limits))
        for limits in SIZES.values()
    ]
    parts = outcomes_by_class(
        found,
        truth,
        selections,
        lambda outcomes: [Curve.of(one) for one in outcomes],
        num_frames=num_frames,
        num_classes=num_classes,
    )
    return {name: AveragePrecision(tuple(part[i] for part in parts)) for i, name in enumerate(SIZES)}


def _within(areas: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.bool_]:
    low, high = limits
    inside: NDArray[np.bool_] = (areas > low) & (areas <= high)
    return inside
