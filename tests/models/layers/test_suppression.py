"""Suppression with fixed shapes, compared with results found by hand."""

from __future__ import annotations

import math

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from megavid.models.layers.suppression import suppress

BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 7], [0, 20, 10, 30], [0, 0, 10, 10], [20, 0, 30, 10]])
"""The IoU of the first two is 0.7, and that of the first and the fourth is 1."""

SCORES = torch.tensor([0.9, 0.8, 0.7, 0.6, -math.inf])


def test_a_box_above_the_threshold_is_removed_and_an_empty_entry_never_kept(device: torch.device) -> None:
    boxes = torch.stack((BOXES, BOXES.flip(0))).to(device)
    scores = torch.stack((SCORES, torch.tensor([0.9, 0.8, 0.7, -math.inf, -math.inf]))).to(device)
    expected = [[True, True, True, False, False], [True, True, True, False, False]]
    assert suppress(boxes, scores, None, 0.75, 5).tolist() == expected
    expected[0][1] = False
    assert suppress(boxes, scores, None, 0.6, 5).tolist() == expected


def test_boxes_of_other_groups_are_not_removed(device: torch.device) -> None:
    boxes, scores = BOXES[None].to(device), SCORES[None].to(device)
    groups = torch.tensor([[1, 2, 1, 2, 1]], device=device)
    assert suppress(boxes, scores, groups, 0.6, 5).tolist() == [[True, True, True, False, False]]


def test_an_iou_that_rounds_up_to_the_threshold_is_above_it(device: torch.device) -> None:
    # 0.3 in float32 is above 0.3, 0.7 in float32 is below 0.7.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 3], [20, 0, 30, 10], [20, 0, 30, 7]], device=device)
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6]], device=device)
    assert suppress(boxes[None], scores, None, 0.3, 4).tolist() == [[True, False, True, False]]
    assert suppress(boxes[None], scores, None, 0.7, 4).tolist() == [[True, True, True, True]]


def test_no_boxes(device: torch.device) -> None:
    none = torch.zeros(2, 0, device=device)
    assert suppress(none[..., None].expand(2, 0, 4), none, None, 0.5, 3).shape == (2, 0)


def test_fake_tensors_pass_through(device: torch.device) -> None:
    with FakeTensorMode():
        scores = torch.empty(2, 7, device=device)
        keep = suppress(scores[..., None].expand(2, 7, 4), scores, scores.long(), 0.5, 3)
    assert keep.shape == (2, 7)
    assert keep.dtype == torch.bool
