"""Fit input size and anchors to the objects of a data set.

The size of an object is the square root of its area. The "small" size is the one that 5 % of the objects are
below, the "large" size the one that 5 % are above.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from megavid.datasets.table.annotations import Annotations
from megavid.models.faster_rcnn.preprocess import input_size

LEAST_SIZE = 16
"""Pixels of the network's input, one cell of the backbone's map; smaller objects are hard to find."""

_LARGEST_FACTOR = 1.5
"""Largest factor by which the input is enlarged for small objects; memory and time grow with its square."""

_COVERED = 1.5
"""Largest ratio between the sizes of an object and of its nearest anchor at which the anchor fits."""


def object_sizes(train: Annotations, min_size: int, max_size: int) -> tuple[float, float]:
    """Compute the small and the large size of objects, pixels of the network's input.

    Args:
        train: Data set with objects.
        min_size: Shorter side of the input, as in `InputConfig`.
        max_size: Limit of the longer side.
    """
    frames = train.box_frames
    sides = (train.boxes[:, 2:] - train.boxes[:, :2]).clip(min=1).astype(np.float64)
    scale = np.ones(len(train))
    for height, width in {*zip(train.height.tolist(), train.width.tolist(), strict=True)}:
        if height and width:
            scaled, _ = input_size(height, width, min_size=min_size, max_size=max_size)
            scale[(train.height == height) & (train.width == width)] = scaled / height
    small, large = np.quantile(np.sqrt(sides.prod(axis=1)) * scale[frames], (0.05, 0.95))
    return float(small), float(large)


def fit_input(train: Annotations, min_size: int, max_size: int) -> tuple[int, int]:
    """Enlarge the input so that small objects have `LEAST_SIZE` pixels in it.

    The input becomes neither larger than the frames nor larger than 1.5 times the model's own.

    Args:
        train: Data set with objects.
        min_size: Shorter side of the model's input, pixels.
        max_size: Limit of the longer side, pixels.

    Returns:
        The fitted shorter side and the limit of the longer side, pixels.
    """
    sides = np.minimum(train.width, train.height)
    native = float(np.median(sides[sides > 0])) if (sides > 0).any() else min_size
    small, _ = object_sizes(train, min_size, max_size)
    factor = min(LEAST_SIZE / small, _LARGEST_FACTOR, native / min_size)
    if factor <= 1:
        return min_size, max_size
    fitted = int(np.ceil(min_size * factor / 16)) * 16
    return fitted, round(max_size * fitted / min_size)


def fit_anchors(train: Annotations, min_size: int, max_size: int, *, count: int) -> list[int]:
    """Choose the sides of square anchors, from small to large objects in equal ratios.

    Args:
        train: Data set with objects.
        min_size: Shorter side of the network's input, pixels.
        max_size: Limit of the longer side, pixels.
        count: Number of anchors.
    """
    small, large = object_sizes(train, min_size, max_size)
    small, large = max(small, 12.0), max(large, 24.0)
    sizes = np.geomspace(small, max(large, small * 2 ** (0.5 * (count - 1))), count)
    return [int(4 * round(size / 4)) for size in sizes]


def anchors_cover(anchors: Sequence[int], small: float, large: float) -> bool:
    """Return whether objects of all sizes from small to large have an anchor of about their size."""
    return small >= min(anchors) / _COVERED and large <= max(anchors) * _COVERED
