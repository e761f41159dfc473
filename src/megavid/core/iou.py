"""IoU and distance-IoU of boxes in NumPy arrays, for code that must not need PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def paired_iou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the IoU of each box of `first` and the box in the same place of `second`.

    The shapes are broadcast, so `paired_iou(a[:, None], b)` compares each box of `a` with each box of `b`.

    Args:
        first: (..., 4), half-open x1 y1 x2 y2.
        second: (..., 4), half-open x1 y1 x2 y2.

    Returns:
        (...); the IoU with an empty box is 0.
    """
    # Each operation is on whole coordinates, since reductions over an axis of length 2 are slow.
    (x1, y1, x2, y2), (u1, v1, u2, v2) = (
        np.moveaxis(boxes.astype(np.float64), -1, 0) for boxes in (first, second)
    )
    width = (np.minimum(x2, u2) - np.maximum(x1, u1)).clip(min=0)
    height = (np.minimum(y2, v2) - np.maximum(y1, v1)).clip(min=0)
    overlap = width * height
    areas = [(x2 - x1).clip(min=0) * (y2 - y1).clip(min=0), (u2 - u1).clip(min=0) * (v2 - v1).clip(min=0)]
    union = areas[0] + areas[1] - overlap
    iou: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros(union.shape), where=union > 0)
    return iou


def paired_diou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the distance-IoU of each box of `first` and the box in the same row of `second`.

    The distance-IoU (Zheng et al., "Distance-IoU Loss", AAAI 2020, equation 7) is the IoU minus the squared
    distance of the centers divided by the squared diagonal of the smallest box that encloses both boxes.

    Args:
        first: (N, 4), half-open x1 y1 x2 y2.
        second: (N, 4), half-open x1 y1 x2 y2.

    Returns:
        (N,), from above -1 to 1; the IoU itself if both boxes are the same point.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    apart = (first[:, :2] + first[:, 2:] - second[:, :2] - second[:, 2:]) / 2
    sides = np.maximum(first[:, 2:], second[:, 2:]) - np.minimum(first[:, :2], second[:, :2])
    distance, diagonal = (apart**2).sum(axis=1), (sides**2).sum(axis=1)
    penalty = np.divide(distance, diagonal, out=np.zeros(len(diagonal)), where=diagonal > 0)
    diou: NDArray[np.float64] = paired_iou(first, second) - penalty
    return diou
