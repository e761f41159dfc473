"""IoU of boxes in NumPy arrays, for code that must not need PyTorch."""

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
