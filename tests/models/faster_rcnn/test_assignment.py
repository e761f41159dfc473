"""Matching anchors and proposals to objects, and sampling those that training uses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from megavid.models.faster_rcnn.assignment import IGNORED, NEGATIVE, match, sample

OBJECTS = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 40]])
BOXES = torch.tensor(
    [
        [0.0, 0, 10, 10],  # IoU 1 with the first object
        [0, 0, 10, 8],  # 0.8
        [0, 0, 10, 5],  # 0.5
        [0, 0, 10, 2],  # 0.2
        [20, 20, 30, 30],  # 0.5 with the second
        [20, 30, 30, 40],  # 0.5 with the second as well
        [50, 50, 60, 60],  # no overlap
    ]
)


@pytest.mark.parametrize(
    ("keep_best", "expected"),
    [
        (False, [0, 0, IGNORED, NEGATIVE, IGNORED, IGNORED, NEGATIVE]),
        (True, [0, 0, IGNORED, NEGATIVE, 1, 1, NEGATIVE]),
    ],
)
def test_matching_by_overlap(keep_best: bool, expected: list[int], device: torch.device) -> None:
    assert (
        match(BOXES.to(device), OBJECTS.to(device), low=0.3, high=0.7, keep_best=keep_best).tolist()
        == expected
    )


def test_thresholds_are_inclusive(device: torch.device) -> None:
    half = torch.tensor([[0.0, 0, 10, 5]], device=device)
    assert match(half, OBJECTS.to(device), low=0.5, high=0.5).tolist() == [0]
    assert match(half, OBJECTS.to(device), low=0.5, high=0.6).tolist() == [IGNORED]


def test_all_boxes_are_negative_without_objects(device: torch.device) -> None:
    assert match(
        BOXES.to(device), torch.zeros(0, 4, device=device), low=0.3, high=0.7, keep_best=True
    ).unique().tolist() == [NEGATIVE]


def test_an_object_that_overlaps_no_box_is_matched_to_none(device: torch.device) -> None:
    objects = torch.tensor([[500.0, 500, 510, 510]], device=device)
    assert match(BOXES.to(device), objects, low=0.3, high=0.7, keep_best=True).unique().tolist() == [NEGATIVE]


def test_a_box_is_matched_to_the_object_with_the_largest_iou(device: torch.device) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]], device=device)
    objects = torch.tensor([[0.0, 0, 10, 1], [0, 0, 10, 6]], device=device)
    assert match(boxes, objects, low=0.3, high=0.7, keep_best=True).tolist() == [1]


MATCHED = torch.tensor([NEGATIVE, 3, IGNORED, NEGATIVE, 0, 1, NEGATIVE, NEGATIVE, 2])


@pytest.mark.parametrize(
    ("count", "positive", "negative"),
    [
        (8, [1, 4, 5, 8], [0, 3, 6, 7]),
        (4, [1, 4], [0, 3]),
        (16, [1, 4, 5, 8], [0, 3, 6, 7]),
        (2, [1], [0]),
    ],
)
def test_sampling_without_a_generator_takes_the_first_candidates(
    count: int, positive: list[int], negative: list[int], device: torch.device
) -> None:
    chosen = sample(MATCHED.to(device), count=count, positive_share=0.5, generator=None)
    assert (chosen.positive.tolist(), chosen.negative.tolist()) == (positive, negative)
    assert len(chosen) == len(positive) + len(negative)


def test_negatives_fill_the_sample_if_positives_are_few(device: torch.device) -> None:
    matched = torch.tensor([0, *[NEGATIVE] * 9], device=device)
    assert len(sample(matched, count=8, positive_share=0.5, generator=None).negative) == 7


def test_random_sampling_reaches_all_candidates(device: torch.device) -> None:
    def draw(seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        chosen = sample(MATCHED.to(device), count=4, positive_share=0.5, generator=generator)
        return chosen.positive, chosen.negative

    seen = torch.cat([torch.cat(draw(seed)) for seed in range(40)])
    assert seen.unique().tolist() == [0, 1, 3, 4, 5, 6, 7, 8]
    assert all(len(positive) == len(negative) == 2 for positive, negative in map(draw, range(5)))
    assert draw(3)[0].tolist() == draw(3)[0].tolist() == sorted(draw(3)[0].tolist())
