"""Operations on half-open boxes: x1 y1 x2 y2, where x2 and y2 are one past the last pixel.

The original release of MEGA uses inclusive boxes, whose x2 and y2 are the last pixel. The width x2 - x1 + 1
of an inclusive box equals the width x2 - x1 of the same box in half-open coordinates, so the IoU, NMS and box
coder of the original release become the usual formulas. Three operations need inclusive coordinates:
RoIAlign, clipping to an image, and rescaling to another frame size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import nms

MAX_LOG_SCALE = math.log(1000.0 / 16.0)
"""Upper limit of the deltas dw and dh, as in Faster R-CNN: the logarithm of the largest factor by which a
side may grow."""


def to_inclusive(boxes: Tensor) -> Tensor:
    """Convert half-open boxes (..., 4) to boxes whose x2 and y2 are the last pixel."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - 1), dim=-1)


def to_half_open(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) whose x2 and y2 are the last pixel to half-open boxes."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] + 1), dim=-1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Clip boxes (..., 4) to an image so that each box keeps at least one pixel.

    As in the original release, inclusive coordinates are clamped to [0, width - 1] x [0, height - 1].
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    clipped = (x1.clamp(0, width - 1), y1.clamp(0, height - 1), x2.clamp(1, width), y2.clamp(1, height))
    return torch.stack(clipped, dim=-1)


def rescale(boxes: Tensor, *, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Scale boxes (..., 4) from one image size (height, width) to another.

    As in the original release, the inclusive x1 and x2 are multiplied by the ratio of the widths, and the
    inclusive y1 and y2 by the ratio of the heights.
    """
    x, y = to_size[1] / from_size[1], to_size[0] / from_size[0]
    return to_half_open(to_inclusive(boxes) * boxes.new_tensor((x, y, x, y)))


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Apply regression deltas to boxes (Fast R-CNN, Girshick 2015, section 2.3).

    Args:
        deltas: (..., N, 4 * K), dx dy dw dh of K boxes per row.
        boxes: (..., N, 4), the boxes that the deltas are relative to.
        weights: Factors by which dx, dy, dw and dh were multiplied in training. The deltas are divided by
            these factors first.

    Returns:
        (..., N, K, 4) boxes in float32, not clipped.
    """
    by_kind = deltas.float().unflatten(-1, (-1, 4)).unbind(-1)
    deltas = torch.stack([delta / weight for delta, weight in zip(by_kind, weights, strict=True)], dim=-1)
    boxes = boxes.float()[..., None, :]
    size = boxes[..., 2:] - boxes[..., :2]
    center = boxes[..., :2] + 0.5 * size
    new_center = deltas[..., :2] * size + center
    new_size = deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp() * size
    return torch.cat((new_center - 0.5 * new_size, new_center + 0.5 * new_size), dim=-1)


def encode(objects: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Compute the deltas (N, 4) with which `decode` turns `boxes` (N, 4) into `objects` (N, 4)."""
    size, new_size = (b[:, 2:] - b[:, :2] for b in (boxes, objects))
    center, new_center = (0.5 * (b[:, :2] + b[:, 2:]) for b in (boxes, objects))
    deltas = torch.cat(((new_center - center) / size, (new_size / size).log()), dim=1)
    return torch.stack(
        [delta * weight for delta, weight in zip(deltas.unbind(1), weights, strict=True)], dim=1
    )


def nms_best(boxes: Tensor, scores: Tensor, threshold: float, *, limit: int) -> Tensor:
    """Return the first `limit` boxes that non-maximum suppression keeps.

    Only a box with a higher score can suppress a box, so it is usually enough to process the first few boxes.

    Args:
        boxes: (N, 4), sorted by descending score.
        scores: (N,), descending.
        threshold: A box is removed if its IoU with a kept box of higher score is above this value.
        limit: Maximum number of boxes to keep.

    Returns:
        Indexes of the boxes kept, by descending score.
    """
    considered = 4 * limit
    while True:
        kept: Tensor = nms(boxes[:considered], scores[:considered], threshold)
        if len(kept) >= limit or considered >= len(boxes):
            return kept[:limit]
        considered *= 2


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Apply non-maximum suppression to each class separately.

    Args:
        boxes: (N, 4).
        scores: (N,).
        labels: (N,) int64.
        threshold: A box is removed if its IoU with a kept box of the same class and a higher score is above
            this value.

    Returns:
        Indexes of the boxes kept, by descending score.
    """
    # A single NMS over all classes would have to move the boxes of each class to a separate place. This would
    # round the coordinates and change borderline overlaps.
    kept = [
        rows[nms(boxes[rows], scores[rows], threshold)]
        for label in labels.unique()
        for rows in [torch.where(labels == label)[0]]
    ]
    indexes = torch.cat(kept) if kept else labels.new_empty(0)
    return indexes[scores[indexes].argsort(descending=True, stable=True)]
