"""Fit the configuration of Faster R-CNN to training data: input size, anchors, norm, and a small network.

The size of an object is the square root of its area. Five percent of the objects are smaller than the "small"
size, and five percent are larger than the "large" size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from megavid.models.base.fitting import FittedSettings, Start, TrainingObjects
from megavid.models.faster_rcnn.preprocess import input_size

LEAST_SIZE = 16
"""Object size in pixels of the network's input, one cell of C4, below which objects are hard to find."""

_LARGEST_FACTOR = 1.5
"""Largest factor by which the input is enlarged for small objects; memory and time grow with its square."""

_COVERED = 1.5
"""Largest ratio between the sizes of an object and of the nearest anchor at which the anchor still fits."""

_SMALL: dict[str, Any] = {
    "backbone.depth": 18,
    "backbone.width": 24,
    "backbone.reduce_channels": 48,
    "rpn.pre_nms_top_n": 400,
    "rpn.post_nms_top_n": 40,
    "rpn.batch_size_per_image": 64,
    "head.pool_size": 5,
    "head.max_detections": 50,
    "head.batch_size_per_image": 32,
    "method.hidden": 128,
}
"""Settings of a network that a CPU trains in an hour or two, as in the recipe `generated`."""

_SMALL_IF_ANY: dict[str, Any] = {
    "method.flow_width": 8,
    "method.heads": 4,
    "method.reference_proposals": 20,
    "method.distilled_proposals": 5,
}


def fit_settings(
    values: Mapping[str, Any],
    objects: TrainingObjects,
    given: Mapping[str, Any],
    *,
    start: Start,
    small: bool,
) -> FittedSettings:
    """Fit settings to training data; see `VideoDetector.fit_settings`."""
    settings: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    shortest, longest = values["input.min_size"], values["input.max_size"]
    if small:
        settings |= _SMALL
        reasons[""] = "a small network, since there is no GPU and nothing to start from"
        shortest = _small_input(objects)
        longest = shortest * 5 // 3
    _fit_input(settings, reasons, objects, given, (shortest, longest))
    size = settings["input.min_size"], settings["input.max_size"]
    if start == "detector":
        _keep_or_fit_anchors(settings, reasons, objects, size, values["rpn.anchor_sizes"])
    else:
        settings["rpn.anchor_sizes"] = fit_anchors(objects, *size, count=3 if small else 4)
        reasons["rpn.anchor_sizes"] = "from small objects to large ones, pixels of the network's input"
    timm = given.get("backbone.timm", values["backbone.timm"])
    if start == "nothing" and timm is None:
        settings["backbone.norm"] = "group"
        reasons["backbone.norm"] = (
            "learns from random weights; with start.backbone remove this line and set run.frozen_stages: 2"
        )
    group_norm = settings.get("backbone.norm", values["backbone.norm"]) == "group"
    return FittedSettings(
        settings=settings,
        settings_if_any=dict(_SMALL_IF_ANY) if small else {},
        reasons=reasons,
        frozen_stages=0 if start == "nothing" or group_norm else 2,
        optimizer="sgd" if timm is None else "adamw",
        learning_rate=1e-4 if timm is not None else 0.01 if group_norm else 0.001,
    )


def object_sizes(objects: TrainingObjects, min_size: int, max_size: int) -> tuple[float, float]:
    """Compute the small and the large size of the objects, in pixels of the network's input.

    Args:
        objects: Frames and objects.
        min_size: Shorter side of the input, as in `InputConfig`.
        max_size: Limit of the longer side.
    """
    heights, widths = objects.frame_heights, objects.frame_widths
    scale = np.ones(len(heights))
    for height, width in {*zip(heights.tolist(), widths.tolist(), strict=True)}:
        if height and width:
            scaled, _ = input_size(height, width, min_size=min_size, max_size=max_size)
            scale[(heights == height) & (widths == width)] = scaled / height
    sizes = np.sqrt(objects.object_areas) * scale[objects.object_frames]
    small, large = np.quantile(sizes, (0.05, 0.95))
    return float(small), float(large)


def fit_input(objects: TrainingObjects, min_size: int, max_size: int) -> tuple[int, int]:
    """Enlarge the network's input, if necessary, so that the small size reaches `LEAST_SIZE` pixels.

    The input is enlarged to the size of the frames at most, and to 1.5 times the model's own input at most.
    An enlarged shorter side is rounded up to a multiple of 16.

    Args:
        objects: Frames and objects.
        min_size: Shorter side of the model's input, pixels.
        max_size: Limit of the longer side, pixels.

    Returns:
        The fitted shorter side and the limit of the longer side, pixels.
    """
    small, _ = object_sizes(objects, min_size, max_size)
    native = _median_side(objects, default=min_size)
    factor = min(LEAST_SIZE / small, _LARGEST_FACTOR, native / min_size)
    if factor <= 1:
        return min_size, max_size
    fitted = int(np.ceil(min_size * factor / 16)) * 16
    return fitted, round(max_size * fitted / min_size)


def fit_anchors(objects: TrainingObjects, min_size: int, max_size: int, *, count: int) -> list[int]:
    """Choose anchor sizes (square roots of areas) from the small to the large size, in equal ratios.

    Args:
        objects: Frames and objects.
        min_size: Shorter side of the network's input, pixels.
        max_size: Limit of the longer side, pixels.
        count: Number of sizes.
    """
    small, large = object_sizes(objects, min_size, max_size)
    small, large = max(small, 12.0), max(large, 24.0)
    sizes = np.geomspace(small, max(large, small * 2 ** (0.5 * (count - 1))), count)
    return [int(4 * round(size / 4)) for size in sizes]


def anchors_cover(anchors: Sequence[int], small: float, large: float) -> bool:
    """Return whether objects of all sizes from small to large have an anchor of about their size."""
    return small >= min(anchors) / _COVERED and large <= max(anchors) * _COVERED


def _keep_or_fit_anchors(
    settings: dict[str, Any],
    reasons: dict[str, str],
    objects: TrainingObjects,
    size: tuple[int, int],
    anchors: Sequence[int],
) -> None:
    """Keep a detector's anchor sizes if they fit the objects; otherwise choose the same number of others."""
    small, large = object_sizes(objects, *size)
    found = f"objects have {small:.0f} to {large:.0f} pixels of the input"
    if anchors_cover(anchors, small, large):
        settings["rpn.anchor_sizes"] = list(anchors)
        reasons["rpn.anchor_sizes"] = f"the detector's own, which fit: {found}"
    else:
        settings["rpn.anchor_sizes"] = fit_anchors(objects, *size, count=len(anchors))
        reasons["rpn.anchor_sizes"] = (
            f"fitted, since {found}; as many as the detector's {', '.join(map(str, anchors))}, which its "
            "weights require"
        )


def _fit_input(
    settings: dict[str, Any],
    reasons: dict[str, str],
    objects: TrainingObjects,
    given: Mapping[str, Any],
    size: tuple[int, int],
) -> None:
    """Choose the size of the network's input: as the user gives it, or else fitted to the objects."""
    sides = [given.get(f"input.{name}") for name in ("min_size", "max_size")]
    fitted = fit_input(objects, *size) if sides == [None, None] else size
    why = "the shorter side of a frame becomes this, pixels"
    if fitted[0] > size[0]:
        why += f"; more than {size[0]}, since objects below {LEAST_SIZE} pixels are hard to find"
    min_size, max_size = (
        side if isinstance(side, int) and side >= LEAST_SIZE else other
        for side, other in zip(sides, fitted, strict=True)
    )
    small, _ = object_sizes(objects, min_size, max_size)
    if small < LEAST_SIZE:
        why += f"; one object in twenty is smaller than {small:.0f} pixels of it, and hard to find"
    settings |= {"input.min_size": min_size, "input.max_size": max_size}
    reasons |= {"input.min_size": why, "input.max_size": "the longer side's limit"}


def _small_input(objects: TrainingObjects) -> int:
    """Return the shorter side of a small network's input: that of the frames, within 96 .. 192 pixels."""
    return int(np.clip(_median_side(objects, default=144), 96, 192)) // 16 * 16


def _median_side(objects: TrainingObjects, *, default: float) -> float:
    """Return the median of the frames' shorter sides, in pixels, or `default` if no size is known."""
    sides = np.minimum(objects.frame_heights, objects.frame_widths)
    return float(np.median(sides[sides > 0])) if (sides > 0).any() else default
