"""Linking frame by frame, and the steps that improve tubelets, with numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from megavid.linking.class_vectors import ScoredBoxes
from megavid.linking.tubelets import (
    TubeletLinker,
    Tubelets,
    average_vectors,
    drop_unlinked,
    fill_gaps,
    smooth_boxes,
)


def frame_of(*lefts: float) -> ScoredBoxes:
    """Make boxes 10 wide at these left edges, each with one class of score 1."""
    boxes = np.array([[x, 0, x + 10, 10] for x in lefts], np.float64).reshape(-1, 4)
    return ScoredBoxes(boxes, np.ones((len(lefts), 1), np.float32))


def match_near(first: ScoredBoxes, second: ScoredBoxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair boxes that are less than 5 apart."""
    rows, columns = np.nonzero(np.abs(first.boxes[:, None, 0] - second.boxes[:, 0]) < 5)
    return rows, columns


def tubelet(frames: Sequence[int], boxes: Sequence[Sequence[float]], vectors: Sequence[float]) -> Tubelets:
    found = ScoredBoxes(np.array(boxes, np.float64), np.array(vectors, np.float32)[:, None])
    n = len(frames)
    return Tubelets(np.array(frames), np.full(n, 7), found, np.zeros(n, np.bool_))


@pytest.mark.parametrize(
    ("max_gap", "last"), [(0, [[2], [3, 2]]), (1, [[1], [2, 1]]), (2, [[1], [2, 1]]), (3, [[1], [0, 1]])]
)
def test_tubelets_continue_after_gaps_up_to_a_length(max_gap: int, last: list[list[int]]) -> None:
    """The box at 0 is missed in three frames, and the one at 50 in one."""
    linker = TubeletLinker(match_near, max_gap=max_gap)
    frames = [frame_of(0, 50), frame_of(51), frame_of(), frame_of(52), frame_of(1, 53)]
    assert [linker.push(found).tolist() for found in frames] == [[0, 1], [1], [], *last]


def test_the_nearest_frame_comes_first() -> None:
    linker = TubeletLinker(match_near, max_gap=3)
    pushed = [linker.push(frame_of(*lefts)).tolist() for lefts in ([0, 50], [51], [0, 50])]
    assert pushed == [[0, 1], [1], [0, 1]]


def test_tubelets_are_sorted_and_returned_by_frame() -> None:
    frames = [frame_of(0, 50), frame_of(), frame_of(51, 1)]
    tubelets = Tubelets.from_frames(frames, [np.array([0, 1]), np.zeros(0, np.int64), np.array([1, 0])])
    assert tubelets.frame.tolist() == [0, 2, 0, 2]
    assert tubelets.found.boxes[:, 0].tolist() == [0, 1, 50, 51]
    assert tubelets.starts().tolist() == [0, 2, 4]
    assert [here.found.boxes[:, 0].tolist() for here in tubelets.by_frame(3)] == [[0, 50], [], [1, 51]]


def test_single_boxes_are_dropped_and_the_others_get_the_mean() -> None:
    frames = [frame_of(0, 50), frame_of(1)]
    frames[0].vectors[0] = 0.2
    tubelets = Tubelets.from_frames(frames, [np.array([0, 1]), np.array([0])])
    linked = average_vectors(drop_unlinked(tubelets))
    assert linked.frame.tolist() == [0, 1]
    assert linked.found.vectors.ravel().tolist() == pytest.approx([0.6, 0.6])


def test_missing_boxes_are_interpolated_and_marked() -> None:
    gap = tubelet([2, 5, 6], [[0, 0, 10, 10], [30, 6, 46, 22], [31, 6, 47, 22]], [0.9, 0.3, 0.3])
    filled = fill_gaps(gap)
    assert filled.frame.tolist() == [2, 3, 4, 5, 6]
    assert filled.interpolated.tolist() == [False, True, True, False, False]
    assert filled.found.boxes[1:3] == pytest.approx(np.array([[10, 2, 22, 14], [20, 4, 34, 18]]))
    assert filled.found.vectors.ravel().tolist() == pytest.approx([0.9, 0.7, 0.5, 0.3, 0.3])
    assert filled.tubelet.tolist() == [7] * 5


def test_gaps_are_not_filled_between_two_tubelets() -> None:
    frames = [frame_of(0), frame_of(), frame_of(50)]
    tubelets = Tubelets.from_frames(frames, [np.array([0]), np.zeros(0, np.int64), np.array([1])])
    assert len(fill_gaps(tubelets)) == 2


def test_a_constant_box_stays_as_it_is() -> None:
    still = tubelet(range(5), [[3, 4, 13, 24]] * 5, [1] * 5)
    assert smooth_boxes(still, sigma=1.5).found.boxes == pytest.approx(still.found.boxes)


def test_a_step_of_the_center_is_smoothed() -> None:
    """With sigma = 1, the weight of a distance d is exp(-d^2 / 2), over their sum, up to a distance of 4.

    The left edge jumps from 0 to 10 between the second and the third of four frames. With reflected ends, the
    edges are 10 10 0 0 | 0 0 10 10 | 10 10 0 0. The second frame is 1 to 4 frames from an edge of 10 to its
    right and 4 to its left, the first frame 2 to 4 to its right and 3 and 4 to its left.
    """
    step = tubelet(range(4), [[0, 0, 10, 10]] * 2 + [[10, 0, 20, 10]] * 2, [1] * 4)
    smooth = smooth_boxes(step, sigma=1).found.boxes
    weight = {d: np.exp(-(d**2) / 2) for d in range(-4, 5)}
    total = sum(weight.values())
    second = (weight[1] + weight[2] + weight[3] + weight[4] + weight[-4]) / total
    first = (weight[2] + weight[3] + weight[4] + weight[-3] + weight[-4]) / total
    assert smooth[:, 0] == pytest.approx(10 * np.array([first, second, 1 - second, 1 - first]), abs=1e-6)
    assert smooth[:, 2] - smooth[:, 0] == pytest.approx(np.full(4, 10.0))
    assert smooth[:, 1] == pytest.approx(np.zeros(4))


def test_tubelets_are_smoothed_apart_and_sigma_0_changes_nothing() -> None:
    frames = [frame_of(0, 50), frame_of(4, 50)]
    tubelets = Tubelets.from_frames(frames, [np.array([0, 1])] * 2)
    assert smooth_boxes(tubelets, sigma=0) is tubelets
    smooth = smooth_boxes(tubelets, sigma=1).found.boxes[:, 0]
    assert smooth[0] + smooth[1] == pytest.approx(4)
    assert 0 < smooth[0] < smooth[1] < 4
    assert smooth[2:] == pytest.approx([50, 50])


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=4, unique=True), min_size=1, max_size=8), st.integers(0, 3)
)
def test_a_tubelet_has_one_box_in_a_frame_and_no_longer_gap(lefts: list[list[int]], max_gap: int) -> None:
    def match(first: ScoredBoxes, second: ScoredBoxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = np.arange(min(len(first), len(second)))
        return rows, rows

    linker = TubeletLinker(match, max_gap=max_gap)
    frames = [frame_of(*row) for row in lefts]
    tubelets = Tubelets.from_frames(frames, [linker.push(found) for found in frames])
    starts = tubelets.starts()
    for first, end in pairwise(starts):
        steps = np.diff(tubelets.frame[first:end])
        assert ((steps >= 1) & (steps <= max_gap + 1)).all()
    filled = fill_gaps(tubelets)
    starts = filled.starts()
    assert all((np.diff(filled.frame[a:b]) == 1).all() for a, b in pairwise(starts))
    assert len(filled) - filled.interpolated.sum() == len(tubelets)
