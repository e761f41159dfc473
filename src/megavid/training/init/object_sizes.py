"""Input size and anchors that fit the objects of a data set.

The size of an object is the root of its area. "Small" is the size that 5 % of the objects are below, and
"large" the size that 5 % are above.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from megavid.datasets.table.annotations import Annotations
from megavid.models.faster_rcnn.preprocess import input_size

LEAST_SIZE = 16
"""Pixels of the network's input: one cell of the trunk's map. Smaller objects are hard to find."""

_LARGEST_FACTOR = 1.5
"""By how much an input is enlarged for small objects; memory and time go by its square."""

_COVERED = 1.5
"""The ratio between an object's size and that of the nearest anchor at which the anchor still fits."""


def object_sizes(train: Annotations, min_size: int, max_size: int) -> tuple[float, float]:
    """Find the sizes of small and of large objects, pixels of a network's input.

    Args:
        train: The data set, with objects.
        min_size, max_size: Those of `InputConfig`.
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
    """Enlarge an input so that small objects have `LEAST_SIZE` pixels in it, within reason.

    It never becomes larger than the frames are, nor more than half as large again.

    Args:
        train: The data set, with objects.
        min_size, max_size: The model's own.

    Returns:
        The shorter side of a frame and the limit of the longer one, pixels.
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
    """Choose sides of square anchors, from small to large objects, evenly in ratio.

    Args:
        train: The data set, with objects.
        min_size, max_size: Those of the network's input.
        count: How many.
    """
    small, large = object_sizes(train, min_size, max_size)
    small, large = max(small, 12.0), max(large, 24.0)
    sizes = np.geomspace(small, max(large, small * 2 ** (0.5 * (count - 1))), count)
    return [int(4 * round(size / 4)) for size in sizes]


def anchors_cover(anchors: Sequence[int], small: float, large: float) -> bool:
    """Tell whether small and large objects, and so those in between, have an anchor of about their size."""
    return small >= min(anchors) / _COVERED and large <= max(anchors) * _COVERED
