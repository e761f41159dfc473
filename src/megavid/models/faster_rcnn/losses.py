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


PADDING = -100
"""Label of RoIs that are sampled only to have a fixed number of them."""

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
    rows, valid = chosen.rows, chosen.valid
    boxes, matched = anchors[rows], matched[rows]
    positive = valid & (matched >= 0)
    count = valid.sum().clamp(min=1)
    entropies = F.binary_cross_entropy_with_logits(output.logits[0, rows], positive.float(), reduction="none")
    objectness = entropies.where(valid, 0).sum()
    wanted = box_ops.encode(_matched_objects(clip, matched, boxes), boxes, ANCHOR_WEIGHTS)
    proposals = _box_loss(output.deltas[0, rows], wanted, positive, beta=_ANCHOR_BETA)
    return objectness / count, proposals / count


@dataclass(frozen=True, eq=False)
class SampledRoIs:
    """RoIs that the head is trained on.

    Attributes:
        boxes: (N, 4), half-open, input pixels.
        labels: (N,) int64, background 0, classes from 1, and `PADDING`.
        objects: (N, 4), box of the object that a RoI is matched to; the box of the RoI if it has none.
    """

    boxes: Tensor
    labels: Tensor
    objects: Tensor


def sample_rois(
    proposals: Tensor, clip: Clip, config: HeadConfig, *, valid: Tensor | None = None
) -> SampledRoIs:
    """Sample RoIs from the key frame's proposals and the boxes of its objects.

    Args:
        proposals: (P, 4), half-open, input pixels.
        clip: Training clip.
        config: Settings of the head, which include the number of RoIs to sample.
        valid: (P,) bool, False for proposals that are padding; None if there is no padding.
    """
    boxes = torch.cat((proposals, clip.boxes))
    matched = match(boxes, clip.boxes, low=_ROI_IOU, high=_ROI_IOU)
    if valid is not None:
        matched = matched.where(F.pad(valid, (0, len(clip.boxes)), value=True), IGNORED)
    chosen = sample(
        matched, count=config.batch_size_per_image, positive_share=_ROI_POSITIVE, generator=clip.generator
    )
    boxes, matched = boxes[chosen.rows], matched[chosen.rows]
    labels = torch.zeros_like(matched)
    if len(clip.boxes):
        labels = (clip.labels[matched.clamp(min=0)] + 1).where(matched >= 0, 0)
    return SampledRoIs(boxes, labels.where(chosen.valid, PADDING), _matched_objects(clip, matched, boxes))


def head_losses(output: HeadOutput, rois: SampledRoIs) -> tuple[Tensor, Tensor]:
    """Compute the losses of classes and boxes on the sampled RoIs."""
    classes = F.cross_entropy(output.logits, rois.labels, ignore_index=PADDING)
    labels_N14 = rois.labels.clamp(min=0)[:, None, None].expand(-1, 1, 4)
    deltas_N4 = output.deltas.unflatten(1, (-1, 4)).gather(1, labels_N14)[:, 0]
    wanted_N4 = box_ops.encode(rois.objects, rois.boxes, BOX_WEIGHTS)
    boxes = _box_loss(deltas_N4, wanted_N4, rois.labels > 0, beta=_ROI_BETA)
    return classes, boxes / (rois.labels != PADDING).sum()


def _matched_objects(clip: Clip, matched: Tensor, boxes: Tensor) -> Tensor:
    """Return the object of each box (N, 4), as `match` found them (N,); for a box without, the box itself."""
    if len(clip.boxes) == 0:
        return boxes
    return clip.boxes[matched.clamp(min=0)].where((matched >= 0)[:, None], boxes)


def _box_loss(deltas: Tensor, wanted: Tensor, positive: Tensor, *, beta: float) -> Tensor:
    """Sum the smooth L1 losses of the positive ones (N,) among box deltas (N, 4)."""
    wanted = wanted.where(positive[:, None], 0)  # that of another box may not be finite, nor is its gradient
    losses = F.smooth_l1_loss(deltas, wanted, beta=beta, reduction="none")
    return losses.where(positive[:, None], 0).sum()
