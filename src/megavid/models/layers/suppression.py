"""Non-maximum suppression with fixed shapes, as one operator.

How many boxes suppression keeps depends on the data. The operator therefore returns a mask, so that whatever
surrounds it can be captured in a CUDA graph, compiled or exported. Shapes: B images of N boxes each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.library import custom_op
from torchvision.ops import nms

from megavid.core import box_ops


@custom_op("megavid::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float, limit: int) -> Tensor:
    """Apply greedy non-maximum suppression to each image and group.

    A box is removed if its IoU with a kept box of a higher score in its group is above the threshold. The
    decisions equal those of `torchvision.ops.nms` on a CPU.

    This implementation for all devices calls torchvision for each group of each image. On a GPU it waits for
    the device and cannot be captured in a CUDA graph; `acceleration.cuda.registration` has one that can.

    Args:
        boxes: (B, N, 4) float32, half-open.
        scores: (B, N) float32, descending in each image. Entries without a box come last and have the score
            -inf; they are never kept.
        groups: (B, N) int64; boxes of different groups do not suppress each other. None for a single group.
        threshold: IoU above which the lower-scored of two boxes is removed.
        limit: Number of boxes of an image that the caller needs, at least 1. The mask is exact for the first
            `limit` kept boxes and all that tie in score with the last of them; it may be False for boxes of
            lower scores.

    Returns:
        (B, N) bool, True for boxes that are kept.
    """
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for image, count in enumerate((scores != -math.inf).sum(1).tolist()):
        candidates = boxes[image, :count], scores[image, :count]
        if groups is None:
            kept = nms(*candidates, threshold)
        else:
            kept = box_ops.nms_per_class(*candidates, groups[image, :count], threshold)
        keep[image, kept] = True
    return keep


@suppress.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float, limit: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)
