"""Match boxes to objects and sample boxes for training (Ren et al., NeurIPS 2015, section 3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from megavid.models.layers.host_values import upload

NEGATIVE, IGNORED = -1, -2
"""Results of `match` for boxes of the background, and for boxes that training leaves out."""


def match(boxes: Tensor, objects: Tensor, *, low: float, high: float, keep_best: bool = False) -> Tensor:
    """Match each box to the object that it overlaps most.

    Args:
        boxes: (N, 4), half-open.
        objects: (M, 4), half-open; M may be 0.
        low: IoU below which a box is `NEGATIVE`.
        high: Lowest IoU at which a box is matched; a box between `low` and `high` is `IGNORED`.
        keep_best: Whether to also match, for each object, the boxes with the highest IoU with it (several if
            they tie), however low above 0. Such a box is still matched to the object that it overlaps most.

    Returns:
        (N,) int64, indexes into `objects`, or `NEGATIVE` or `IGNORED`.
    """
    if len(objects) == 0:
        return torch.full((len(boxes),), NEGATIVE, device=boxes.device)
    iou_MN = box_iou(objects, boxes)
    best_N, index_N = iou_MN.max(dim=0)
    matched: Tensor = index_N.where(best_N >= high, torch.where(best_N < low, NEGATIVE, IGNORED))
    if keep_best:
        is_best = ((iou_MN == iou_MN.amax(dim=1, keepdim=True)) & (iou_MN > 0)).any(dim=0)
        matched = index_N.where(is_best, matched)
    return matched


@dataclass(frozen=True, eq=False)
class Sampled:
    """Boxes sampled for training, always as many, so that no shape depends on data.

    Attributes:
        rows: (C,) int64, indexes of the boxes, ascending; padding comes last.
        valid: (C,) bool, False for padding.
    """

    rows: Tensor
    valid: Tensor


def sample(
    matched: Tensor, *, count: int, positive_share: float, generator: torch.Generator | None
) -> Sampled:
    """Sample positive and negative boxes.

    The boxes are put in random order, and the first ones of each kind are taken. The order does not depend on
    the boxes, so drawing it does not wait for the device.

    Args:
        matched: (N,), result of `match`.
        count: Largest number of boxes to sample; C is `count`, or N if that is lower.
        positive_share: Largest share of `count` that positive boxes take; negative boxes fill the rest.
        generator: CPU generator for a random sample; None to take the first candidates.
    """
    device = matched.device
    order = None
    if generator is not None:
        order = upload(torch.randperm(len(matched), generator=generator), device)
    shuffled = matched if order is None else matched[order]
    positive = _first(shuffled >= 0, int(count * positive_share))
    chosen = positive | _first(shuffled == NEGATIVE, count - positive.sum())
    if order is not None:
        chosen = torch.empty_like(chosen).scatter_(0, order, chosen)
    numbers = torch.arange(1, min(count, len(matched)) + 1, device=device)
    rows = torch.searchsorted(chosen.cumsum(0), numbers)  # the place where the n-th chosen box is counted
    valid = rows < len(matched)
    return Sampled(rows.where(valid, 0), valid)


def _first(candidates: Tensor, limit: int | Tensor) -> Tensor:
    """Return a mask (N,) of the first candidates among (N,) boxes, at most `limit`."""
    return candidates & (candidates.cumsum(0) <= limit)
