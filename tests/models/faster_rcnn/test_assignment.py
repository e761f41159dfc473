"""Matching anchors and proposals to objects, and sampling those that training uses."""

from __future__ import annotations

import numpy as np
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


def draw(matched: Tensor, *, count: int, seed: int | None) -> list[int]:
    """Sample half of each kind, check the form of the sample, and return its rows without padding."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    chosen = sample(matched, count=count, positive_share=0.5, generator=generator)
    rows, valid = chosen.rows.tolist(), chosen.valid.tolist()
    assert len(rows) == min(count, len(matched))
    assert valid == sorted(valid, reverse=True)  # padding comes last
    kept: list[int] = rows[: sum(valid)]
    assert kept == sorted(set(kept))
    assert all(0 <= row < len(matched) for row in rows)
    return kept


@pytest.mark.parametrize(
    ("count", "rows"),
    [
        (8, [0, 1, 3, 4, 5, 6, 7, 8]),
        (4, [0, 1, 3, 4]),
        (16, [0, 1, 3, 4, 5, 6, 7, 8]),  # nine boxes in all, one of them ignored
        (2, [0, 1]),
    ],
)
def test_sampling_without_a_generator_takes_the_first_candidates(
    count: int, rows: list[int], device: torch.device
) -> None:
    assert draw(MATCHED.to(device), count=count, seed=None) == rows


@pytest.mark.parametrize("seed", [None, 3])
def test_negatives_fill_the_sample_if_positives_are_few(seed: int | None, device: torch.device) -> None:
    matched = torch.tensor([*[NEGATIVE] * 5, 0, *[NEGATIVE] * 4], device=device)
    rows = draw(matched, count=8, seed=seed)
    assert len(rows) == 8
    assert 5 in rows


@pytest.mark.parametrize("seed", [None, 3])
def test_positives_do_not_fill_the_sample_if_negatives_are_few(
    seed: int | None, device: torch.device
) -> None:
    matched = torch.tensor([0, 0, 0, 0, IGNORED, NEGATIVE, 0], device=device)
    rows = draw(matched, count=6, seed=seed)
    assert len(rows) == 4
    assert 4 not in rows
    assert 5 in rows


@pytest.mark.parametrize("seed", [None, 3])
def test_a_sample_of_no_boxes_is_empty(seed: int | None, device: torch.device) -> None:
    assert draw(MATCHED[:0].to(device), count=4, seed=seed) == []
    assert draw(MATCHED[2:3].to(device), count=4, seed=seed) == []  # the only box is ignored


def test_random_samples_are_uniform(device: torch.device) -> None:
    """Draw two of four positive and two of four negative boxes: each box is in half of the samples."""
    draws = 2000
    counts, pairs = np.zeros(len(MATCHED)), np.zeros((len(MATCHED), len(MATCHED)))
    for seed in range(draws):
        rows = draw(MATCHED.to(device), count=4, seed=seed)
        assert len(rows) == 4
        assert sum(int(MATCHED[row] >= 0) for row in rows) == 2
        counts[rows] += 1
        for row in rows:
            pairs[row, rows] += 1
    sampled = (MATCHED != IGNORED).numpy()
    # Five standard deviations of a binomial distribution.
    assert (np.abs(counts[sampled] - draws / 2) < 5 * (draws / 4) ** 0.5).all()
    assert counts[~sampled].tolist() == [0]
    one_kind = np.array([pairs[a, b] for a in (1, 4, 5, 8) for b in (1, 4, 5, 8) if a < b])
    assert (np.abs(one_kind - draws / 6) < 5 * (draws * 5 / 36) ** 0.5).all()


def test_a_seed_determines_the_sample(device: torch.device) -> None:
    draws = [draw(MATCHED.to(device), count=4, seed=seed) for seed in (3, 3, 4, 5)]
    assert draws[0] == draws[1]
    assert not draws[1] == draws[2] == draws[3]
