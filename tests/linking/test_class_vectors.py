"""Class vectors of boxes, from detections with and without scores of all classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import nms

from megavid.core.detections import Detections
from megavid.linking.class_vectors import (
    MAX_DETECTIONS,
    ScoredBoxes,
    class_agreement,
    suppress_within_classes,
    to_detections,
    to_scored_boxes,
)
from tests.linking.made_by_hand import NAMES, Row, detections, square


def test_scores_of_all_classes_are_the_vectors() -> None:
    rows: list[Row] = [(0, 0.8, square(0)), (1, 0.5, square(30))]
    found = to_scored_boxes(detections(rows), min_score=0.001, suppression_iou=1)
    assert found.boxes.tolist() == [[0, 0, 10, 10], [30, 0, 40, 10]]
    assert found.vectors == pytest.approx(np.array([[0.8, 0.1, 0.1], [0.25, 0.5, 0.25]]))


def test_a_box_that_is_detected_as_several_classes_is_one_box() -> None:
    found = Detections(
        boxes=torch.tensor([square(0), square(0), square(30)]),
        scores=torch.tensor([0.6, 0.3, 0.2]),
        labels=torch.tensor([0, 1, 1]),
        class_names=NAMES,
    )
    joined = to_scored_boxes(found, min_score=0.001, suppression_iou=1)
    assert joined.boxes.tolist() == [square(0), square(30)]
    assert joined.vectors == pytest.approx(np.array([[0.6, 0.3, 0], [0, 0.2, 0]]))
    vectors = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    whole = Detections(found.boxes, found.scores, found.labels, NAMES, class_scores=vectors)
    assert to_scored_boxes(whole, min_score=0.001, suppression_iou=1).vectors == pytest.approx(
        vectors[[0, 2]].numpy()
    )


def test_detections_of_other_classes_join_the_best_one_they_overlap() -> None:
    """Boxes 10 wide that are 1 apart have an IoU of 9 / 11 > 0.7, and of 8 / 12 < 0.7 at a distance of 2."""
    rows: list[Row] = [
        (0, 0.9, square(0)),
        (1, 0.5, square(1)),  # joins the first
        (1, 0.4, square(0.5)),  # its class has been taken there, so it stays alone
        (2, 0.3, square(2)),  # is too far from the first, and joins the third, at a distance of 1.5
    ]
    found = to_scored_boxes(detections(rows, class_scores=False), min_score=0.001, suppression_iou=1)
    assert found.boxes.tolist() == [square(0), square(0.5)]
    assert found.vectors == pytest.approx(np.array([[0.9, 0.5, 0], [0, 0.4, 0.3]]))


def test_classes_without_names_and_low_scores() -> None:
    unnamed = Detections(torch.tensor([square(0)]), torch.tensor([0.5]), torch.tensor([2]))
    found = to_scored_boxes(unnamed, min_score=0.001, suppression_iou=1)
    assert found.vectors.tolist() == [[0, 0, 0.5]]
    other = ScoredBoxes(found.boxes, np.array([[0.1, 0.2, 0.4, 0.3]], np.float32))
    assert class_agreement(found, other).tolist() == [[pytest.approx(0.2)]]
    assert len(to_scored_boxes(unnamed, min_score=0.6, suppression_iou=1)) == 0


def test_suppression_within_classes_by_hand() -> None:
    """Boxes 10 wide, 3 apart in a row: neighbors have an IoU of 7/13, and others of at most 4/16.

    In the first class, the first box suppresses the second, which therefore leaves the third alone, and the
    third suppresses the fourth. In the second class, the second box suppresses both its neighbors.
    """
    boxes = np.array([square(0), square(3), square(6), square(9)], np.float64)
    vectors = np.array([[0.9, 0.1], [0.8, 0.5], [0.7, 0.2], [0.6, 0.0]], np.float32)
    kept = suppress_within_classes(ScoredBoxes(boxes, vectors), iou=0.5)
    assert kept.boxes.tolist() == boxes[:3].tolist()  # the fourth has lost its only class
    assert kept.vectors == pytest.approx(np.array([[0.9, 0], [0, 0.5], [0.7, 0]]))
    assert suppress_within_classes(ScoredBoxes(boxes, vectors), iou=0.6).vectors.tolist() == vectors.tolist()


@given(st.integers(0, 10_000))
def test_suppression_is_that_of_each_class_by_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 20, (12, 2))
    boxes = np.hstack((corner, corner + rng.integers(5, 15, (12, 2)))).astype(np.float64)
    vectors = (rng.permutation(np.arange(1, 37)).reshape(12, 3) / 40).astype(np.float32)
    kept = suppress_within_classes(ScoredBoxes(boxes, vectors), iou=0.41)
    for label in range(3):
        rows = nms(torch.from_numpy(boxes).float(), torch.from_numpy(vectors[:, label].copy()), 0.41).numpy()
        expected = sorted(vectors[rows, label].tolist())
        assert sorted(kept.vectors[kept.vectors[:, label] > 0, label].tolist()) == expected


def test_each_class_of_a_box_becomes_a_detection() -> None:
    vectors = np.array([[0.5, 0.0005, 0.2], [0.3, 0, 0]], np.float32)
    boxes = np.array([square(0), square(30)], np.float64)
    found = to_detections(
        ScoredBoxes(boxes, vectors),
        detections([]),
        tracks=np.array([4, 2]),
        interpolated=np.array([False, True]),
        min_score=0.001,
    )
    assert found.labels.tolist() == [0, 0, 2]
    assert found.scores.tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert found.boxes.tolist() == [square(0), square(30), square(0)]
    assert found.tracks is not None
    assert found.interpolated is not None
    assert found.class_scores is not None
    assert found.tracks.tolist() == [4, 2, 4]
    assert found.interpolated.tolist() == [False, True, False]
    assert found.class_scores.numpy() == pytest.approx(vectors[[0, 1, 0]])


def test_a_frame_has_a_limited_number_of_detections() -> None:
    n = MAX_DETECTIONS
    found = ScoredBoxes(np.zeros((n, 4)), np.linspace(0.1, 0.9, 3 * n, dtype=np.float32).reshape(n, 3))
    tracks = np.arange(n)
    kept = to_detections(found, detections([]), tracks=tracks, interpolated=None, min_score=0)
    assert kept.scores.tolist() == sorted(found.vectors.ravel().tolist(), reverse=True)[:n]
