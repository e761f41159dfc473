"""Half-open boxes: x1 y1 x2 y2 where x2 and y2 are one past the last pixel.

The original release counts the last pixel in ("inclusive" boxes). Its boxes are ours less one in x2 and
y2, its widths x2 - x1 + 1 are our widths, and so its IoU, NMS and box coder are the plain formulas here.
Three places need inclusive coordinates, and go through `to_inclusive` / `to_half_open`: RoIAlign,
clipping to an image and rescaling to another frame size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import nms

MAX_LOG_SCALE = math.log(1000.0 / 16.0)
"""Largest log growth of a side that a decoded box may have (Faster R-CNN's clamp)."""

_LAST_PIXEL = (0.0, 0.0, 1.0, 1.0)


def to_inclusive(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) half-open -> (..., 4) with the last pixel at x2, y2."""
    return boxes - boxes.new_tensor(_LAST_PIXEL)


def to_half_open(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) with the last pixel at x2, y2 -> (..., 4) half-open."""
    return boxes + boxes.new_tensor(_LAST_PIXEL)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (..., 4) moved inside an image; each keeps at least its one last pixel.

    Inclusive coordinates are clamped to [0, width - 1] x [0, height - 1], as the original does.
    """
    low = boxes.new_tensor((0.0, 0.0, 1.0, 1.0))
    high = boxes.new_tensor((width - 1.0, height - 1.0, float(width), float(height)))
    return boxes.clamp(min=low, max=high)


def rescale(boxes: Tensor, *, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) of an image of one (height, width) on the same image at another size.

    All four inclusive coordinates are multiplied by the ratio of widths or heights, as the original does.
    """
    x, y = to_size[1] / from_size[1], to_size[0] / from_size[0]
    return to_half_open(to_inclusive(boxes) * boxes.new_tensor((x, y, x, y)))


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes moved by regression deltas (Fast R-CNN, Girshick 2015, section 2.3).

    Args:
        deltas: (N, 4 * K), dx dy dw dh for each of K boxes a row.
        boxes: (N, 4) what they are relative to.
        weights: What each delta was multiplied by in training.

    Returns:
        (N, K, 4) boxes in float32, not clipped.
    """
    deltas = deltas.float().unflatten(1, (-1, 4)) / deltas.new_tensor(weights, dtype=torch.float32)
    boxes = boxes.float()[:, None]
    size = boxes[..., 2:] - boxes[..., :2]
    centre = boxes[..., :2] + 0.5 * size
    new_centre = deltas[..., :2] * size + centre
    new_size = deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp() * size
    return torch.cat((new_centre - 0.5 * new_size, new_centre + 0.5 * new_size), dim=2)


def encode(objects: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """The deltas (N, 4) that `decode` moves each of `boxes` (N, 4) to its object (N, 4) by."""
    size, new_size = (b[:, 2:] - b[:, :2] for b in (boxes, objects))
    centre, new_centre = (0.5 * (b[:, :2] + b[:, 2:]) for b in (boxes, objects))
    deltas = torch.cat(((new_centre - centre) / size, (new_size / size).log()), dim=1)
    return deltas * deltas.new_tensor(weights)


def nms_best(boxes: Tensor, scores: Tensor, threshold: float, *, limit: int) -> Tensor:
    """The first `limit` boxes that non-maximum suppression keeps.

    What goes depends on better boxes alone, so as a rule a part of the list will do.

    Args:
        boxes: (N, 4); scores: (N,), the highest first.
        threshold: A box that overlaps a better one by more than this IoU goes.
        limit: Most boxes to keep.

    Returns:
        Indexes of the boxes kept, highest score first.
    """
    looked_at = 4 * limit
    while True:
        kept: Tensor = nms(boxes[:looked_at], scores[:looked_at], threshold)
        if len(kept) >= limit or looked_at >= len(boxes):
            return kept[:limit]
        looked_at *= 2


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression inside each class.

    Args:
        boxes: (N, 4); scores: (N,); labels: (N,) int64.
        threshold: A box that overlaps a better one of its class by more than this IoU goes.

    Returns:
        Indexes of the boxes kept, highest score first.
    """
    # Shifting each class to a place of its own would round the coordinates (float32 has 24 bits), so
    # that borderline overlaps fall on the other side: classes are taken one by one instead.
    kept = [
        rows[nms(boxes[rows], scores[rows], threshold)]
        for label in labels.unique()
        for rows in [torch.where(labels == label)[0]]
    ]
    indexes = torch.cat(kept) if kept else labels.new_empty(0)
    return indexes[scores[indexes].argsort(descending=True, stable=True)]
