"""The anchors and proposals that are trained on, and what on (Ren et al., NeurIPS 2015, section 3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

NEGATIVE, IGNORED = -1, -2
"""What `match` says of boxes without an object."""


def match(boxes: Tensor, objects: Tensor, *, low: float, high: float, keep_best: bool = False) -> Tensor:
    """The object of each box, by overlap.

    Args:
        boxes: (N, 4), half-open.
        objects: (M, 4), half-open; may be none.
        low: A box whose highest IoU is lower is `NEGATIVE`.
        high: A box whose highest IoU is at least this belongs to that object; between the two it is
            `IGNORED`.
        keep_best: An object's best boxes, all that tie, belong to an object however small the overlap is:
            each to the one that it overlaps most.

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
    """Boxes chosen to be trained on.

    Attributes:
        positive: (P,) indexes of those with an object, rising.
        negative: (Q,) indexes of those without, rising.
    """

    positive: Tensor
    negative: Tensor

    def __len__(self) -> int:
        return len(self.positive) + len(self.negative)


def sample(
    matched: Tensor, *, count: int, positive_share: float, generator: torch.Generator | None
) -> Sampled:
    """A random choice of positive and negative boxes.

    Args:
        matched: (N,), what `match` gives.
        count: How many at most.
        positive_share: How many of `count` may be positive; negatives fill the rest.
        generator: Of the random numbers, on the CPU; None takes the first ones instead.
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
