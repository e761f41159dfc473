"""Operations on boxes, with values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import nms

from megavid.core import box_ops


def test_half_open_boxes_end_one_pixel_after_inclusive_boxes() -> None:
    half_open = torch.tensor([[2.0, 3.0, 10.0, 7.0]])
    assert box_ops.to_inclusive(half_open).tolist() == [[2, 3, 9, 6]]
    assert box_ops.to_half_open(torch.tensor([[2.0, 3.0, 9.0, 6.0]])).tolist() == half_open.tolist()


def test_clipped_boxes_keep_at_least_one_pixel_in_the_image() -> None:
    boxes = torch.tensor([[-5.0, -5.0, 200.0, 90.0], [-9.0, -9.0, -3.0, -2.0], [150.0, 70.0, 160.0, 80.0]])
    expected = [[0, 0, 100, 50], [0, 0, 1, 1], [99, 49, 100, 50]]
    assert box_ops.clip(boxes, 50, 100).tolist() == expected


def test_rescaling_multiplies_inclusive_coordinates() -> None:
    # Inclusive corners 10 20 19 39, times 2 and 3, are 20 60 38 117, or half-open corners 20 60 39 118.
    boxes = torch.tensor([[10.0, 20.0, 20.0, 40.0]])
    assert box_ops.rescale(boxes, from_size=(50, 100), to_size=(150, 200)).tolist() == [[20, 60, 39, 118]]


def test_offsets_are_decoded_to_boxes() -> None:
    # A 20x10 box at (30, 25) moves right by half its width and up by a tenth of its height, and becomes twice
    # as wide: a 40x10 box at (40, 24).
    boxes = torch.tensor([[20.0, 20.0, 40.0, 30.0]])
    deltas = torch.tensor([[5.0, -1.0, 5 * math.log(2.0), 0.0]])
    decoded = box_ops.decode(deltas, boxes, (10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(decoded, torch.tensor([[[20.0, 19.0, 60.0, 29.0]]]))


def test_decoding_limits_the_growth_of_a_box() -> None:
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    decoded = box_ops.decode(torch.tensor([[0.0, 0.0, 100.0, 100.0]]), boxes, (1.0, 1.0, 1.0, 1.0))
    torch.testing.assert_close(decoded[0, 0], torch.tensor([-492.0, -492.0, 508.0, 508.0]))


def test_decoding_without_boxes_returns_no_boxes() -> None:
    assert box_ops.decode(torch.zeros(0, 8), torch.zeros(0, 4), (1.0, 1.0, 1.0, 1.0)).shape == (0, 2, 4)


def test_nms_treats_classes_separately_and_sorts_by_score() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]])
    scores = torch.tensor([0.5, 0.9, 0.7, 0.8])
    labels = torch.tensor([0, 0, 1, 0])
    assert box_ops.nms_per_class(boxes, scores, labels, 0.5).tolist() == [1, 3, 2]


def test_nms_keeps_boxes_that_overlap_by_the_threshold_exactly() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])  # their IoU is 0.5
    scores, labels = torch.tensor([0.9, 0.8]), torch.tensor([0, 0])
    assert len(box_ops.nms_per_class(boxes, scores, labels, 0.5)) == 2
    assert len(box_ops.nms_per_class(boxes, scores, labels, 0.49)) == 1


def test_nms_without_boxes() -> None:
    nothing = box_ops.nms_per_class(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.5)
    assert nothing.tolist() == []


def test_nms_best_returns_the_first_boxes_of_full_nms(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    start = 50 * torch.rand(400, 2)
    boxes = torch.cat((start, start + 5 + 20 * torch.rand(400, 2)), dim=1)
    scores = torch.rand(400).sort(descending=True).values
    everything = nms(boxes, scores, 0.3)
    looked_at: list[int] = []

    def counting(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
        looked_at.append(len(boxes))
        kept: torch.Tensor = nms(boxes, scores, threshold)
        return kept

    monkeypatch.setattr(box_ops, "nms", counting)
    for limit in (1, 10, len(everything), 400):
        best = box_ops.nms_best(boxes, scores, 0.3, limit=limit)
        assert best.tolist() == everything[:limit].tolist()
    assert looked_at[0] == 4
    assert looked_at[-1] == 400
    # All 20 boxes are equal, so NMS keeps one, and the search for a second one goes through all of them.
    same = boxes[:1].expand(20, 4)
    assert box_ops.nms_best(same, scores[:20], 0.3, limit=2).tolist() == [0]
    assert box_ops.nms_best(boxes[:0], scores[:0], 0.3, limit=2).tolist() == []
