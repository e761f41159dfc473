"""Overlaps of boxes, with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from megavid.core.iou import paired_diou, paired_iou

FIRST = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 2, 2], [3, 3, 3, 3]], np.float32)
SECOND = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [2, 2, 8, 8], [2, 2, 4, 4], [3, 3, 3, 3]], np.float32)


def test_paired_iou() -> None:
    # The same box, half of a box, a box inside another, boxes that touch at a corner, and empty boxes.
    assert paired_iou(FIRST, SECOND) == pytest.approx([1, 1 / 3, 0.36, 0, 0])


def test_each_box_with_each_other_one() -> None:
    iou = paired_iou(FIRST[[0, 3], None], SECOND[:3])
    # The box of 2x2 lies in the first box, touches neither of the others.
    assert iou == pytest.approx(np.array([[1, 1 / 3, 0.36], [0.04, 0, 0]]))


def test_paired_diou_subtracts_the_distance_of_the_centers() -> None:
    # Second row: the centers are 5 apart, and the enclosing box is 15x10. Fourth row: (2, 2) apart, in 4x4.
    assert paired_diou(FIRST, SECOND) == pytest.approx([1, 1 / 3 - 25 / 325, 0.36, -8 / 32, 0])


def test_no_boxes() -> None:
    assert paired_iou(FIRST[:0], SECOND[:0]).shape == paired_diou(FIRST[:0], SECOND[:0]).shape == (0,)
