"""Seq-NMS on tracks made by hand.

Most boxes are 10x10 and differ only in x. The IoU of two such boxes is 7/13 at a distance of 3, 6/14 at a
distance of 4, and 4/16 at a distance of 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from megavid.core.iou import paired_iou
from megavid.evaluation.prediction_table import PredictionTable
from megavid.linking.seq_nms import seq_nms, sequences

Row = tuple[int, float, float]
"""Frame, left edge and score of a box."""


def columns(rows: Sequence[Row]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    frame = np.array([row[0] for row in rows], np.int64)
    left = np.array([row[1] for row in rows], np.float32)
    boxes = np.stack((left, np.zeros_like(left), left + 10, np.full_like(left, 10)), axis=1)
    return frame, boxes, np.array([row[2] for row in rows], np.float32)


def predictions(rows: Sequence[tuple[str, int, int, float, float]]) -> PredictionTable:
    """Make a table; each row has a video, a label, a frame, a left edge and a score."""
    videos = tuple(dict.fromkeys(row[0] for row in rows))
    frame, boxes, scores = columns([row[2:] for row in rows])
    return PredictionTable(
        videos=videos,
        video=np.array([videos.index(row[0]) for row in rows], np.int32),
        frame=frame,
        labels=np.array([row[1] for row in rows], np.int32),
        scores=scores,
        boxes=boxes.reshape(-1, 4),
        class_names=("cat", "dog"),
        lengths=None,
        origin=Path("p.parquet"),
    )


def test_boxes_of_a_track_share_a_score_and_overlapping_boxes_are_suppressed() -> None:
    rows = [
        ("a", 0, 0, 0, 0.9),
        ("a", 0, 1, 3, 0.3),
        ("a", 0, 1, 7, 0.2),  # overlaps the track
        ("a", 0, 1, 60, 0.8),  # forms another track
        ("a", 0, 2, 6, 0.6),
    ]
    scores, kept = seq_nms(predictions(rows))
    assert kept.tolist() == [True, True, False, True, True]
    assert scores[kept] == pytest.approx([0.6, 0.6, 0.8, 0.6])
    scores, kept = seq_nms(predictions(rows), rescoring="max")
    assert scores[kept] == pytest.approx([0.9, 0.9, 0.8, 0.9])


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


def test_links_are_between_neighboring_detected_frames_of_one_class_and_video() -> None:
    rows = [("a", 0, 0, 0, 0.2), ("a", 0, 2, 0, 0.8), ("a", 1, 1, 0, 0.4), ("b", 0, 1, 0, 0.6)]
    scores, kept = seq_nms(predictions(rows))
    assert kept.all()
    assert scores == pytest.approx([0.2, 0.8, 0.4, 0.6])
    scores, _ = seq_nms(predictions(rows), step=2)
    assert scores == pytest.approx([0.5, 0.5, 0.4, 0.6])


def test_boxes_whose_iou_equals_a_limit_are_neither_linked_nor_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10]], np.float32)  # an IoU of 0.5
    assert sequences(np.array([0, 1]), boxes, np.array([0.9, 0.8])) == [[0], [1]]
    boxes = np.array([[0, 0, 10, 10], [0, 0, 3, 10]], np.float32)  # an IoU of 0.3
    assert sequences(np.zeros(2, int), boxes, np.array([0.9, 0.8])) == [[0], [1]]


def test_no_boxes_form_no_sequences_and_scores_of_zero_are_not_linked() -> None:
    scores, kept = seq_nms(predictions([]))
    assert (len(scores), len(kept)) == (0, 0)
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
