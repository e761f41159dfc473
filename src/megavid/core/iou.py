"""IoU and distance-IoU of boxes in NumPy arrays, for code that must not need PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def paired_iou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the IoU of each box of `first` and the box in the same row of `second`.

    Args:
        first: (N, 4), half-open x1 y1 x2 y2.
        second: (N, 4), half-open x1 y1 x2 y2.

    Returns:
        (N,); the IoU with an empty box is 0.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    overlap = sides.clip(min=0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1) for boxes in (first, second)]
    union = areas[0] + areas[1] - overlap
    iou: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros(len(union)), where=union > 0)
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
