"""Losses of RPN and head (Ren et al., NeurIPS 2015, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from megavid.core import box_ops
from megavid.models.base.clip import Clip
from megavid.models.faster_rcnn.assignment import IGNORED, match, sample
from megavid.models.faster_rcnn.box_head import BOX_WEIGHTS, HeadConfig, HeadOutput
from megavid.models.faster_rcnn.rpn import ANCHOR_WEIGHTS, RPNConfig, RPNOutput

_ANCHOR_LOW, _ANCHOR_HIGH, _ANCHOR_POSITIVE, _ANCHOR_BETA = 0.3, 0.7, 0.5, 1 / 9
_ROI_IOU, _ROI_POSITIVE, _ROI_BETA = 0.5, 0.25, 1.0


RPNLosses = tuple[Tensor, Tensor]
"""Losses of objectness and of boxes."""


def rpn_losses(output: RPNOutput, clip: Clip, config: RPNConfig) -> RPNLosses:
    """Compute the losses of objectness and boxes on the anchors of the key frame.

    Args:
        output: Output of the RPN; the key frame is the first of the batch.
        clip: Training clip.
        config: Settings of the RPN, which include the number of anchors to sample.
    """
    anchors, (height, width) = output.anchors, clip.image_size
    matched = match(anchors, clip.boxes, low=_ANCHOR_LOW, high=_ANCHOR_HIGH, keep_best=True)
    inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2] <= width) & (anchors[:, 3] <= height)
    matched = matched.where(inside, IGNORED)
    chosen = sample(
        matched, count=config.batch_size_per_image, positive_share=_ANCHOR_POSITIVE, generator=clip.generator
    )
    rows = torch.cat((chosen.positive, chosen.negative))
    target = (matched[rows] >= 0).float()
    count = max(len(rows), 1)
    objectness = F.binary_cross_entropy_with_logits(output.logits[0, rows], target, reduction="sum")
    wanted = box_ops.encode(clip.boxes[matched[chosen.positive]], anchors[chosen.positive], ANCHOR_WEIGHTS)
    deltas = output.deltas[0, chosen.positive]
    boxes = F.smooth_l1_loss(deltas, wanted, beta=_ANCHOR_BETA, reduction="sum")
    return objectness / count, boxes / count


@dataclass(frozen=True, eq=False)
class SampledRoIs:
    """RoIs that the head is trained on.

    Attributes:
        boxes: (N, 4), half-open, input pixels.
        labels: (N,) int64, background 0, classes from 1.
        objects: (N, 4), box of the object that a RoI is matched to; for background, the box of the RoI.
    """

    boxes: Tensor
    labels: Tensor
    objects: Tensor


def sample_rois(proposals: Tensor, clip: Clip, config: HeadConfig) -> SampledRoIs:
    """Sample RoIs from the key frame's proposals (P, 4) and the boxes of its objects."""
    boxes = torch.cat((proposals, clip.boxes))
    matched = match(boxes, clip.boxes, low=_ROI_IOU, high=_ROI_IOU)
    chosen = sample(
        matched, count=config.batch_size_per_image, positive_share=_ROI_POSITIVE, generator=clip.generator
    )
    rows = torch.cat((chosen.positive, chosen.negative)).sort().values
    boxes, matched = boxes[rows], matched[rows]
    if len(clip.boxes) == 0:
        return SampledRoIs(boxes, torch.zeros_like(matched), boxes)
    positive, objects = matched >= 0, matched.clamp(min=0)
    labels = torch.where(positive, clip.labels[objects] + 1, 0)
    return SampledRoIs(boxes, labels, clip.boxes[objects].where(positive[:, None], boxes))


def head_losses(output: HeadOutput, rois: SampledRoIs) -> tuple[Tensor, Tensor]:
    """Compute the losses of classes and boxes on the sampled RoIs."""
    classes = F.cross_entropy(output.logits, rois.labels)
    positive = torch.where(rois.labels > 0)[0]
    deltas_PK4 = output.deltas[positive].unflatten(1, (-1, 4))
    deltas = deltas_PK4[torch.arange(len(positive), device=positive.device), rois.labels[positive]]
    wanted = box_ops.encode(rois.objects[positive], rois.boxes[positive], BOX_WEIGHTS)
    boxes = F.smooth_l1_loss(deltas, wanted, beta=_ROI_BETA, reduction="sum")
    return classes, boxes / len(rois.labels)
