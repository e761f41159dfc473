"""Losses of the RPN and the head, compared with values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from megavid.models.base.clip import Clip
from megavid.models.faster_rcnn.box_head import HeadConfig, HeadOutput
from megavid.models.faster_rcnn.losses import PADDING, head_losses, rpn_losses, sample_rois
from megavid.models.faster_rcnn.rpn import RPNConfig, RPNOutput

RPN = RPNConfig(
    anchor_sizes=(16,),
    anchor_ratios=(1.0,),
    pre_nms_top_n=9,
    post_nms_top_n=9,
    nms_threshold=0.7,
    batch_size_per_image=4,
)
HEAD = HeadConfig(
    pool_size=3, score_threshold=0.1, nms_threshold=0.5, max_detections=9, batch_size_per_image=4
)


def clip_on(device: torch.device) -> Clip:
    """Return a training clip of one frame with one object."""
    return Clip(
        torch.zeros(1, 3, 100, 100, device=device),
        {},
        torch.tensor([[10.0, 10, 30, 30]], device=device),
        torch.tensor([1], device=device),
    )


def test_rpn_losses(device: torch.device) -> None:
    anchors = torch.tensor(
        [[10.0, 10, 30, 30], [60, 60, 80, 80], [-5, 0, 15, 20], [40, 40, 60, 60], [0, 50, 20, 70]],
        device=device,
    )
    logits = torch.tensor(
        [[2.0, 0.0, 50.0, -1.0, 0.0]], device=device
    )  # the third anchor crosses the border of the image and is ignored
    deltas = torch.zeros(1, 5, 4, device=device)
    deltas[0, 0] = torch.tensor(
        [0.05, 0, 0, 1.0], device=device
    )  # the first anchor equals its object, so its targets are 0
    objectness, boxes = rpn_losses(RPNOutput(logits, deltas, anchors), clip_on(device), RPN)
    # One positive and three negatives, averaged.
    entropies = math.log1p(math.exp(-2)) + 2 * math.log(2) + math.log1p(math.exp(-1))
    assert objectness.item() == pytest.approx(entropies / 4)
    # Smooth L1 with beta 1/9: 0.05, which is below beta, gives 0.05^2 * 9 / 2, and 1 gives 1 - 1/18.
    assert boxes.item() == pytest.approx((0.05**2 * 4.5 + 1 - 1 / 18) / 4)


def test_rois_are_sampled_from_proposals(device: torch.device) -> None:
    proposals = torch.tensor(
        [[0.0, 0, 5, 5], [10, 10, 30, 25], [50, 50, 60, 60], [70, 70, 90, 90]], device=device
    )
    rois = sample_rois(proposals, clip_on(device), HEAD)
    # At most one RoI of four may be positive. A proposal is, so the object's own box is not sampled.
    assert rois.boxes.tolist() == proposals.tolist()
    assert rois.labels.tolist() == [0, 2, 0, 0]
    assert rois.objects[1].tolist() == [10, 10, 30, 30]


def test_rois_include_the_boxes_of_objects(device: torch.device) -> None:
    rois = sample_rois(torch.tensor([[0.0, 0, 5, 5]], device=device), clip_on(device), HEAD)
    assert rois.boxes.tolist() == [[0, 0, 5, 5], [10, 10, 30, 30]]
    assert rois.labels.tolist() == [0, 2]


def test_head_losses(device: torch.device) -> None:
    rois = sample_rois(torch.tensor([[0.0, 0, 5, 5], [10, 10, 30, 25]], device=device), clip_on(device), HEAD)
    # At most one RoI of four may be positive, so the object's own box is left out: the last row is padding.
    assert rois.labels.tolist() == [0, 2, PADDING]
    logits = torch.tensor([[0.0, 0, 0], [0, 0, math.log(2)], [5, 0, 0]], device=device)
    deltas = torch.full((3, 12), 7.0, device=device)  # deltas of other classes and of background are ignored
    # The RoI is 15 pixels high, its object 20, and the object's center is 2.5 pixels further down.
    right = torch.tensor([0.0, 10 * 2.5 / 15, 0, 5 * math.log(20 / 15)], device=device)
    deltas[1, 8:] = right + torch.tensor([0.5, 0, -3, 0], device=device)
    classes, boxes = head_losses(HeadOutput(logits, deltas, rois.boxes, (100, 100)), rois)
    assert classes.item() == pytest.approx((math.log(3) + math.log(2)) / 2)
    assert boxes.item() == pytest.approx((0.125 + 2.5) / 2, rel=1e-5)


def test_proposals_that_are_padding_are_not_sampled(device: torch.device) -> None:
    proposals = torch.tensor([[0.0, 0, 5, 5], [50, 50, 60, 60], [10, 10, 30, 30]], device=device)
    valid = torch.tensor([True, False, False], device=device)
    rois = sample_rois(proposals, clip_on(device), HEAD, valid=valid)
    assert rois.labels.tolist() == [0, 2, PADDING, PADDING]
    assert rois.boxes[:2].tolist() == [[0, 0, 5, 5], [10, 10, 30, 30]]


def test_padding_has_no_part_in_the_losses_of_the_head(device: torch.device) -> None:
    proposals = torch.tensor([[0.0, 0, 5, 5], [10, 10, 30, 25], [50, 50, 50, 50]], device=device)
    valid = torch.tensor([True, True, False], device=device)
    padded = sample_rois(proposals, clip_on(device), HEAD, valid=valid)
    rois = sample_rois(proposals[:2], clip_on(device), HEAD)
    assert rois.labels.tolist() == [0, 2, PADDING]
    assert padded.labels.tolist() == [0, 2, PADDING, PADDING]
    found = []
    for sampled in (rois, padded):
        logits = torch.linspace(-1, 1, 12, device=device).view(4, 3)[: len(sampled.labels)].requires_grad_()
        deltas = torch.linspace(-1, 2, 48, device=device).view(4, 12)[: len(sampled.labels)].requires_grad_()
        classes, boxes = head_losses(HeadOutput(logits, deltas, sampled.boxes, (100, 100)), sampled)
        (classes + boxes).backward()
        found.append((classes, boxes, logits.grad, deltas.grad))
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        rows = slice(2) if one.ndim else ()
        torch.testing.assert_close(other[rows], one[rows])
        assert one.ndim == 0 or not other[2:].any()


def test_rpn_losses_of_fewer_anchors_than_are_sampled(device: torch.device) -> None:
    anchors = torch.tensor([[10.0, 10, 30, 30], [60, 60, 60, 60], [-5, 0, 15, 20]], device=device)
    logits = torch.zeros(1, 3, device=device, requires_grad=True)
    deltas = torch.ones(1, 3, 4, device=device, requires_grad=True)
    objectness, boxes = rpn_losses(RPNOutput(logits, deltas, anchors), clip_on(device), RPN)
    assert objectness.item() == pytest.approx(math.log(2))  # two anchors; the third one crosses the border
    assert boxes.item() == pytest.approx(4 * (1 - 1 / 18) / 2)
    (objectness + boxes).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([-0.25, 0.25, 0])
    assert deltas.grad is not None
    assert deltas.grad[0, 0].tolist() == pytest.approx([0.5] * 4)
    assert not deltas.grad[0, 1:].any()  # and no NaN, although the second anchor has no area
