"""Anchors and proposals of the RPN."""

from __future__ import annotations

import torch
from torch import Tensor

from megavid.models.faster_rcnn.anchors import cell_anchors, grid_anchors
from megavid.models.faster_rcnn.rpn import RPN, RPNConfig

SIZES, RATIOS = (64, 128, 256, 512), (0.5, 1.0, 2.0)


def test_anchors_as_in_the_original_and_by_hand() -> None:
    anchors = cell_anchors(stride=16, sizes=SIZES, ratios=RATIOS)
    assert anchors.shape == (12, 4)
    assert anchors[0].tolist() == [-38, -16, 53 + 1, 31 + 1]  # the original's boxes include their last pixel
    # Ratio 1, size 64: 64 pixels around the center of pixels 0 .. 15.
    assert anchors[4].tolist() == [-24, -24, 40, 40]
    # Ratio 2: a base of 11x22 pixels, times 8 for size 128.
    assert (anchors[9, 2:] - anchors[9, :2]).tolist() == [88, 176]


def test_grid_is_ordered_by_row_column_and_anchor(device: torch.device) -> None:
    cell = torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 2]], device=device)
    grid = grid_anchors(cell, stride=16, height=2, width=3)
    assert grid.shape == (12, 4)
    assert grid[1].tolist() == [0, 0, 2, 2]
    assert grid[2].tolist() == [16, 0, 17, 1]
    assert grid[6].tolist() == [0, 16, 1, 17]


def make_rpn(device: torch.device, **changes: object) -> RPN:
    values = {"pre_nms_top_n": 40, "post_nms_top_n": 7, "nms_threshold": 0.7} | changes
    config = RPNConfig.model_validate({"anchor_sizes": [16, 32], "anchor_ratios": [0.5, 1.0], **values})
    torch.manual_seed(0)
    return RPN(config, channels=8, stride=16).to(device)


def propose(rpn: RPN, features: Tensor, image_size: tuple[int, int]) -> list[Tensor]:
    return rpn.propose(rpn(features), image_size)


def test_proposals_are_inside_the_image(device: torch.device) -> None:
    [first, second] = propose(make_rpn(device=device), torch.randn(2, 8, 4, 6).to(device), (60, 90))
    for proposals in (first, second):
        assert proposals.shape == (7, 4)
        assert (proposals[:, :2] >= 0).all()
        assert (proposals[:, 2:] <= torch.tensor([90.0, 60.0], device=device)).all()
        assert (proposals[:, 2:] - proposals[:, :2] >= 0).all()
    assert first.tolist() != second.tolist()


def test_fewer_proposals_are_a_prefix(device: torch.device) -> None:
    features = torch.randn(1, 8, 4, 6).to(device)
    [many], [few] = (
        propose(make_rpn(device=device), features, (60, 90)),
        propose(make_rpn(post_nms_top_n=3, device=device), features, (60, 90)),
    )
    assert few.tolist() == many[:3].tolist()


def test_the_best_proposal_is_where_objectness_is_largest(device: torch.device) -> None:
    rpn = make_rpn(post_nms_top_n=1, device=device)
    with torch.no_grad():
        for parameter in rpn.parameters():
            parameter.zero_()
        rpn.conv.weight[0, 0, 1, 1] = 1.0
        rpn.objectness.weight[3, 0] = 1.0  # the last of four anchors: ratio 1, size 32
    features = torch.zeros(1, 8, 4, 6, device=device)
    features[0, 0, 2, 3] = 5.0
    [proposals] = propose(rpn, features, (64, 96))
    assert proposals.tolist() == [[40.0, 24.0, 72.0, 56.0]]  # 32 pixels around (56, 40)
