"""Seq-NMS and Seq-DIoU on tracks made by hand.

Most boxes are 10x10 and differ only in x. The IoU of two such boxes is 7/13 at a distance of 3, 6/14 at a
distance of 4, and 4/16 at a distance of 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from megavid.core.iou import paired_iou
from megavid.linking.linkers import linker_config
from megavid.linking.seq_nms import sequences
from tests.linking.made_by_hand import results, square

Row = tuple[int, float, float]
"""Frame, left edge and score of a box."""

HandMade = tuple[int, float, float]
"""Label, score and left edge of a box."""


def columns(rows: Sequence[Row]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    frame = np.array([row[0] for row in rows], np.int64)
    left = np.array([row[1] for row in rows], np.float32)
    boxes = np.stack((left, np.zeros_like(left), left + 10, np.full_like(left, 10)), axis=1)
    return frame, boxes, np.array([row[2] for row in rows], np.float32)


def linked(
    frames: Sequence[Sequence[HandMade]], **settings: Any
) -> list[list[tuple[int, float, float, int]]]:
    """Link boxes of the given labels, scores and left edges; return label, score, left edge and track."""
    rows = [[(label, score, square(left)) for label, score, left in frame] for frame in frames]
    config = linker_config(settings.pop("name", "seq_nms"), settings, origin="test")
    shown = []
    for result in config.start()(results(rows)):
        found = result.detections
        assert found.tracks is not None
        columns = (found.labels, found.scores, found.boxes[:, 0], found.tracks)
        rounded = [[round(x, 4) for x in column.tolist()] for column in columns]
        shown.append(list(zip(*rounded, strict=True)))
    return shown


def test_boxes_of_a_sequence_share_a_score_and_overlapping_boxes_are_suppressed() -> None:
    # In frame 1, the cat at 7 overlaps the sequence, and the cat at 60 is a sequence of its own.
    frames = [[(0, 0.9, 0)], [(0, 0.3, 3), (0, 0.2, 7), (0, 0.8, 60)], [(0, 0.6, 6)]]
    assert linked(frames) == [[(0, 0.6, 0, 0)], [(0, 0.8, 60, 1), (0, 0.6, 3, 0)], [(0, 0.6, 6, 0)]]
    best = [[(0, 0.9, 0, 0)], [(0, 0.9, 3, 0), (0, 0.8, 60, 1)], [(0, 0.9, 6, 0)]]
    assert linked(frames, rescoring="max") == best


def test_two_objects_that_cross_keep_their_classes() -> None:
    # A cat and a dog meet in the middle; they are linked and suppressed in their own classes only.
    frames = [[(0, 0.8, 3.0 * i), (1, 0.6, 12 - 3.0 * i)] for i in range(5)]
    assert linked(frames) == [[(0, 0.8, 3.0 * i, 0), (1, 0.6, 12 - 3.0 * i, 1)] for i in range(5)]


def test_of_two_objects_of_one_class_that_cross_one_breaks() -> None:
    # In frame 2 they lie on each other, so only one box is left, and the sequence of the other breaks.
    frames = [[(0, 0.8, 3.0 * i), (0, 0.6, 12 - 3.0 * i)] for i in range(5)]
    shown = linked(frames)
    assert [[row[3] for row in frame] for frame in shown] == [[0, 1], [0, 1], [0], [0, 2], [0, 2]]


def test_a_missed_or_empty_frame_ends_a_sequence() -> None:
    expected = [[(0, 0.9, 0, 0)], [], [(0, 0.5, 0, 1)]]
    assert linked([[(0, 0.9, 0)], [], [(0, 0.5, 0)]]) == expected


def test_a_cut_ends_all_sequences() -> None:
    frames = [[(0, 0.9, 0)], [(0, 0.7, 0)], [(0, 0.5, 80)], [(0, 0.3, 80)]]
    expected = [[(0, 0.8, 0, 0)], [(0, 0.8, 0, 0)], [(0, 0.4, 80, 1)], [(0, 0.4, 80, 1)]]
    assert linked(frames) == expected


def test_one_frame_without_overlapping_boxes_is_unchanged() -> None:
    assert linked([[(1, 0.9, 0), (0, 0.5, 0)]]) == [[(1, 0.9, 0, 0), (0, 0.5, 0, 1)]]


def test_links_need_the_same_class() -> None:
    assert linked([[(0, 0.2, 0)], [(1, 0.4, 0)]]) == [[(0, 0.2, 0, 0)], [(1, 0.4, 0, 1)]]


def test_boxes_up_to_the_lowest_score_suppress_and_link_nothing() -> None:
    frames = [[(0, 0.9, 0)], [(0, 0.1, 0)], [(0, 0.5, 0)]]
    assert linked(frames, min_score=0.1) == [[(0, 0.9, 0, 0)], [], [(0, 0.5, 0, 1)]]
    assert linked(frames, min_score=0.09)[1] == [(0, 0.5, 0, 0)]


def test_seq_diou_subtracts_the_distance_of_the_centers_from_the_overlap() -> None:
    # At a distance of 3, the IoU is 7/13 = 0.538 and the DIoU 7/13 - 9/269 = 0.505: both link. At a distance
    # of 3.25, they are 6.75/13.25 = 0.509 and 0.509 - 0.038 = 0.472: only the IoU links.
    for left, sequences_found in ((3, 1), (3.25, 2)):
        frames: list[list[HandMade]] = [[(0, 0.9, 0)], [(0, 0.5, left)]]
        tracks = [frame[0][3] for frame in linked(frames, name="seq_diou")]
        assert len(set(tracks)) == sequences_found
        assert [frame[0][3] for frame in linked(frames)] == [0, 0]
    # At a distance of 5, the IoU is 1/3 and the DIoU 1/3 - 25/325 = 0.256: only the IoU suppresses.
    frame: list[HandMade] = [(0, 0.9, 0), (0, 0.5, 5)]
    assert linked([frame]) == [[(0, 0.9, 0, 0)]]
    assert linked([frame], name="seq_diou") == [[(0, 0.9, 0, 0), (0, 0.5, 5, 1)]]


def test_the_sequence_with_the_largest_sum_wins_even_if_its_next_box_is_worse() -> None:
    rows = [
        (0, 10, 0.5),
        (1, 7, 0.45),
        (1, 13, 0.4),
        (2, 16, 0.9),
    ]  # of the boxes in frame 1, only the third row is linked to the last row
    assert sequences(*columns(rows)) == [[0, 2, 3], [1]]


def test_the_rest_of_a_broken_sequence_forms_a_new_one() -> None:
    # The sequence of rows 0, 1 and 3 wins and suppresses row 2. Rows 4 and 5, which followed row 2, remain.
    rows = [(0, 0, 0.9), (1, 0, 0.9), (1, 4, 0.5), (2, 0, 0.9), (2, 6, 0.4), (3, 6, 0.4), (3, 40, 0.1)]
    assert sequences(*columns(rows)) == [[0, 1, 3], [4, 5], [6]]


def test_boxes_whose_iou_equals_a_limit_are_neither_linked_nor_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10]], np.float32)  # an IoU of 0.5
    assert sequences(np.array([0, 1]), boxes, np.array([0.9, 0.8])) == [[0], [1]]
    boxes = np.array([[0, 0, 10, 10], [0, 0, 3, 10]], np.float32)  # an IoU of 0.3
    assert sequences(np.zeros(2, int), boxes, np.array([0.9, 0.8])) == [[0], [1]]


def test_no_boxes_form_no_sequences_and_scores_of_zero_are_not_linked() -> None:
    frame, boxes, scores = columns([])
    assert sequences(frame, boxes.reshape(-1, 4), scores) == []
    assert sequences(*columns([(0, 0, 0.0), (1, 0, 0.0)])) == [[0], [1]]


def recomputed(frame: NDArray[Any], boxes: NDArray[Any], scores: NDArray[Any]) -> list[list[int]]:
    """Select sequences as the paper describes: after each one, compute the sums of all paths again."""

    def iou(a: int, b: int) -> float:
        return float(paired_iou(boxes[[a]], boxes[[b]])[0])

    free, selected = list(range(len(frame))), []
    while free:
        sums: dict[int, float] = {}
        paths: dict[int, list[int]] = {}
        for row in free:
            before = [r for r in free if frame[r] == frame[row] - 1 and iou(r, row) > 0.5]
            best = max(before, key=lambda r: sums[r], default=None)
            sums[row] = float(scores[row]) + (sums[best] if best is not None else 0.0)
            paths[row] = [*(paths[best] if best is not None else []), row]
        path = paths[max(free, key=lambda r: sums[r])]
        selected.append(path)
        removed = {r for p in path for r in free if frame[r] == frame[p] and iou(r, p) > 0.3} | {*path}
        free = [row for row in free if row not in removed]
    return selected


rows_of_boxes = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 24), st.integers(1, 1000)), min_size=0, max_size=40
)


@given(rows_of_boxes)
def test_sequences_equal_those_of_the_simple_method(rows: list[tuple[int, int, int]]) -> None:
    by_frame = sorted((frame, float(left), score / 1024) for frame, left, score in rows)
    frame, boxes, scores = columns(by_frame)
    boxes = boxes.reshape(-1, 4)
    assert sequences(frame, boxes, scores) == recomputed(frame, boxes, scores)
