"""What RPN and head are trained to: the losses of Faster R-CNN (Ren et al., NeurIPS 2015, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from megavid.core import box_ops
from megavid.models.base.clip import Clip
from megavid.models.faster_rcnn.assignment import IGNORED, match, sample
from megavid.models.faster_rcnn.roi_head import BOX_WEIGHTS, HeadConfig, Prediction
from megavid.models.faster_rcnn.rpn import ANCHOR_WEIGHTS, RPNConfig, RPNOutput

_ANCHOR_LOW, _ANCHOR_HIGH, _ANCHOR_POSITIVE, _ANCHOR_BETA = 0.3, 0.7, 0.5, 1 / 9
_ROI_IOU, _ROI_POSITIVE, _ROI_BETA = 0.5, 0.25, 1.0


RPNLosses = tuple[Tensor, Tensor]
"""Of objectness and of boxes."""


def rpn_losses(output: RPNOutput, clip: Clip, config: RPNConfig) -> RPNLosses:
    """Losses of objectness and of boxes on the key frame's anchors.

    Args:
        output: Of the key frame: the first of a batch.
        clip: With the key frame's objects.
        config: How many anchors are sampled.
    """
    anchors, (height, width) = output.anchors, clip.image_size
    matched = match(anchors, clip.boxes, low=_ANCHOR_LOW, high=_ANCHOR_HIGH, keep_best=True)
    inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2] <= width) & (anchors[:, 3] <= height)
    matched = matched.where(inside, IGNORED)
    chosen = sample(matched, count=config.sampled, positive_share=_ANCHOR_POSITIVE, generator=clip.generator)
    rows = torch.cat((chosen.positive, chosen.negative))
    target = (matched[rows] >= 0).float()
    count = max(len(rows), 1)
    objectness = F.binary_cross_entropy_with_logits(output.logits[0, rows], target, reduction="sum")
    wanted = box_ops.encode(clip.boxes[matched[chosen.positive]], anchors[chosen.positive], ANCHOR_WEIGHTS)
    moves = output.deltas[0, chosen.positive]
    boxes = F.smooth_l1_loss(moves, wanted, beta=_ANCHOR_BETA, reduction="sum")
    return objectness / count, boxes / count


@dataclass(frozen=True, eq=False)
class SampledRoIs:
    """Proposals that the head is trained on.

    Attributes:
        boxes: (N, 4), half-open, input pixels.
        labels: (N,) int64, background 0, classes from 1.
        objects: (N, 4), the object of each; its own box for background.
    """

    boxes: Tensor
    labels: Tensor
    objects: Tensor


def sample_rois(proposals: Tensor, clip: Clip, config: HeadConfig) -> SampledRoIs:
    """Of the key frame's proposals (P, 4) and its objects' own boxes, those that the head is trained on."""
    boxes = torch.cat((proposals, clip.boxes))
    matched = match(boxes, clip.boxes, low=_ROI_IOU, high=_ROI_IOU)
    chosen = sample(matched, count=config.sampled, positive_share=_ROI_POSITIVE, generator=clip.generator)
    rows = torch.cat((chosen.positive, chosen.negative)).sort().values
    boxes, matched = boxes[rows], matched[rows]
    if len(clip.boxes) == 0:
        return SampledRoIs(boxes, torch.zeros_like(matched), boxes)
    positive, objects = matched >= 0, matched.clamp(min=0)
    labels = torch.where(positive, clip.labels[objects] + 1, 0)
    return SampledRoIs(boxes, labels, clip.boxes[objects].where(positive[:, None], boxes))


def head_losses(prediction: Prediction, rois: SampledRoIs) -> tuple[Tensor, Tensor]:
    """Losses of classes and of boxes on the sampled RoIs."""
    classes = F.cross_entropy(prediction.logits, rois.labels)
    positive = torch.where(rois.labels > 0)[0]
    moves_PK4 = prediction.deltas[positive].unflatten(1, (-1, 4))
    moves = moves_PK4[torch.arange(len(positive), device=positive.device), rois.labels[positive]]
    wanted = box_ops.encode(rois.objects[positive], rois.boxes[positive], BOX_WEIGHTS)
    boxes = F.smooth_l1_loss(moves, wanted, beta=_ROI_BETA, reduction="sum")
    return classes, boxes / len(rois.labels)
