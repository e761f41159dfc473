"""Match boxes to objects and sample boxes for training (Ren et al., NeurIPS 2015, section 3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

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


@dataclass(frozen=True)
class Sampled:
    """Boxes sampled for training.

    Attributes:
        positive: (P,) indexes of boxes with an object, ascending.
        negative: (Q,) indexes of boxes without an object, ascending.
    """

    positive: Tensor
    negative: Tensor

    def __len__(self) -> int:
        return len(self.positive) + len(self.negative)


def sample(
    matched: Tensor, *, count: int, positive_share: float, generator: torch.Generator | None
) -> Sampled:
    """Sample positive and negative boxes.

    Args:
        matched: (N,), result of `match`.
        count: Largest number of boxes to sample.
        positive_share: Largest share of `count` that positive boxes take; negative boxes fill the rest.
        generator: CPU generator for a random sample; None to take the first candidates.
    """
    positive = torch.where(matched >= 0)[0]
    positive = _choose(positive, int(count * positive_share), generator)
    negative = torch.where(matched == NEGATIVE)[0]
    return Sampled(positive, _choose(negative, count - len(positive), generator))


def _choose(indexes: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    if len(indexes) <= count:
        return indexes
    if generator is None:
        return indexes[:count]
    chosen = torch.randperm(len(indexes), generator=generator)[:count].sort().values
    return indexes[chosen.to(indexes.device)]
