"""Run by `test_interpreted.py`: the kernels for suppression in Triton's interpreter."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from megavid.models.acceleration.cuda.bitmask_suppression import suppress_by_bitmask
from megavid.models.layers.suppression import suppress


def clusters(images: int, count: int, *, places: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return boxes (B, N, 4) that lie around a few places, with descending scores (B, N)."""
    random = torch.Generator().manual_seed(seed)
    place = torch.rand(images, places, 4, generator=random) * torch.tensor([200.0, 200, 60, 60])
    picked = torch.randint(places, (images, count), generator=random)
    box = place.gather(1, picked[..., None].expand(-1, -1, 4))
    box = box + torch.rand(images, count, 4, generator=random) * 20
    # Quarters of pixels, so that some overlaps are equal to the threshold or nearly so
    box = torch.cat((box[..., :2], box[..., :2] + box[..., 2:] + 1), dim=2).mul(4).round().div(4)
    scores = torch.rand(images, count, generator=random).sort(dim=1, descending=True).values
    return box, scores


@pytest.mark.parametrize("count", [1, 64, 65, 450])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_equals_torchvision(count: int, threshold: float) -> None:
    boxes, scores = clusters(2, count, places=9)
    scores[1, count // 2 :] = -math.inf
    expected = suppress(boxes, scores, None, threshold, count)
    assert torch.equal(suppress_by_bitmask(boxes, scores, None, threshold, count), expected)
    assert expected.any()


def test_groups_are_apart() -> None:
    boxes, scores = clusters(2, 300, places=5)
    groups = torch.randint(4, (2, 300), generator=torch.Generator().manual_seed(1))
    expected = suppress(boxes, scores, groups, 0.5, 300)
    assert torch.equal(suppress_by_bitmask(boxes, scores, groups, 0.5, 300), expected)
    assert not torch.equal(suppress_by_bitmask(boxes, scores, None, 0.5, 300), expected)


def test_is_exact_up_to_the_limit_and_its_ties_and_then_stops() -> None:
    boxes, scores = clusters(1, 600, places=300)
    scores[0, 70:130] = scores[0, 70]  # ties that extend over a block's end at 128
    expected = suppress(boxes, scores, None, 0.5, 600)[0]
    limit = int(expected[:75].sum())
    kept = suppress_by_bitmask(boxes, scores, None, 0.5, limit)[0]
    assert torch.equal(kept[:192], expected[:192])
    assert expected[192:].any()
    assert not kept[192:].any()


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("count", [127, 128, 129, 255, 256, 257, 420])
def test_images_are_done_after_different_runs(count: int, grouped: bool) -> None:
    # For 20 boxes, the kernels run for the first 128 boxes, for those up to 256, and for all.
    boxes, scores = clusters(3, count, places=60)
    for image, crowd in enumerate((0, 120, 250)):
        boxes[image, :crowd] = boxes[image, crowd::7] = boxes[image, 0].clone()
    groups = torch.arange(count).div(20).remainder(2).long().expand(3, count) if grouped else None
    expected = suppress(boxes, scores, groups, 0.5, 20)
    kept = suppress_by_bitmask(boxes, scores, groups, 0.5, 20)
    ends = []
    for image in range(3):
        enough = (expected[image].cumsum(0) == 20).nonzero().flatten().tolist()
        ends.append(min(enough[0] // 64 * 64 + 64, count) if enough else count)
        assert torch.equal(kept[image, : ends[-1]], expected[image, : ends[-1]])
        assert not kept[image, ends[-1] :].any()
    assert ends == [64, min(count, 192), min(count, 320)]


@pytest.mark.parametrize("tied", [127, 128, 129])
def test_a_tie_at_the_end_of_a_run_is_decided_by_the_next(tied: int) -> None:
    boxes, scores = clusters(1, 300, places=300)
    boxes[0, :108] = boxes[0, 0].clone()
    boxes[0, 108:] += torch.arange(192)[:, None] * 1000
    boxes[0, 130:192] = boxes[0, 0].clone()
    scores[0, 120:tied] = scores[0, 120]
    kept = suppress_by_bitmask(boxes, scores, None, 0.5, 20)[0]
    # The 20th box that is kept has index 126. The second run must count those of the first to stop at 192.
    assert kept.nonzero().flatten().tolist() == [0, *range(108, 128 if tied < 129 else 130)]


def test_empty_and_degenerate_boxes() -> None:
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [9, 9, 2, 2], [0, 0, 10, 10], [0, 0, 10, 10]])[None]
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5]])
    assert suppress_by_bitmask(boxes, scores, None, 0.5, 5).tolist() == [[True, True, True, True, False]]
    none = torch.full_like(scores, -math.inf)
    assert not suppress_by_bitmask(boxes, none, None, 0.5, 5).any()
    assert suppress_by_bitmask(boxes[:, :0], scores[:, :0], None, 0.5, 5).shape == (1, 0)


def test_an_iou_that_rounds_to_the_threshold_is_judged_as_on_a_cpu() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 3], [20, 0, 30, 10], [20, 0, 30, 7]])[None]
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    assert suppress_by_bitmask(boxes, scores, None, 0.3, 4).tolist() == [[True, False, True, False]]
    assert suppress_by_bitmask(boxes, scores, None, 0.7, 4).tolist() == [[True, True, True, True]]
