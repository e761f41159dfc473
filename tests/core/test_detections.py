"""Slicing and converting detections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from megavid.core.detections import Detections
from megavid.core.errors import InputError


@pytest.fixture
def detections() -> Detections:
    return Detections(
        torch.arange(12.0).reshape(3, 4),
        torch.tensor([0.9, 0.5, 0.1]),
        torch.tensor([2, 0, 1]),
        ("a", "b", "c"),
    )


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (slice(0, 2), [0, 1]),
        (torch.tensor([True, False, True]), [0, 2]),
        (torch.tensor([2, 0]), [2, 0]),
        ([2, 0], [2, 0]),
        ([], []),
        (1, [1]),
        (-1, [2]),
        (np.int64(1), [1]),
        (torch.tensor(2), [2]),
    ],
)
def test_a_slice_of_detections_has_the_chosen_rows(
    detections: Detections, index: slice, rows: list[int]
) -> None:
    chosen = detections[index]
    assert len(chosen) == len(rows)
    assert chosen.boxes[:, 0].tolist() == [4.0 * r for r in rows]
    assert chosen.scores.tolist() == detections.scores[rows].tolist()
    assert chosen.labels.tolist() == [[2, 0, 1][r] for r in rows]
    assert chosen.class_names == ("a", "b", "c")


def test_all_columns_are_sliced(detections: Detections) -> None:
    whole = replace(
        detections,
        tracks=torch.tensor([5, -1, 7]),
        class_scores=torch.arange(9.0).reshape(3, 3) / 10,
        interpolated=torch.tensor([False, True, False]),
    )
    chosen = whole[[2, 1]].cpu()
    assert chosen.tracks is not None
    assert chosen.class_scores is not None
    assert chosen.interpolated is not None
    assert chosen.tracks.tolist() == [7, -1]
    assert torch.equal(chosen.class_scores, torch.tensor([[0.6, 0.7, 0.8], [0.3, 0.4, 0.5]]))
    assert chosen.interpolated.tolist() == [False, True]


def test_an_index_out_of_range_is_refused(detections: Detections) -> None:
    with pytest.raises(IndexError):
        detections[3]


def test_fields_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores \(N,\)"):
        Detections(torch.zeros(2, 4), torch.zeros(3), torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize(
    ("column", "shape", "message"),
    [
        ("tracks", (2,), r"expected tracks \(3,\), got \(2,\)"),
        ("interpolated", (3, 1), r"expected interpolated \(3,\), got \(3, 1\)"),
        ("class_scores", (3, 2), r"expected class_scores \(3, 3\), got \(3, 2\)"),
    ],
)
def test_columns_of_another_shape_are_refused(
    detections: Detections, column: str, shape: tuple[int, ...], message: str
) -> None:
    changes: dict[str, Any] = {column: torch.zeros(shape)}
    with pytest.raises(ValueError, match=message):
        replace(detections, **changes)


@pytest.mark.filterwarnings("ignore:OpenCV")
def test_conversion_to_supervision(detections: Detections) -> None:
    converted = detections.to_supervision()
    assert converted.xyxy.tolist() == detections.boxes.tolist()
    assert converted.class_id is not None
    assert converted.class_id.tolist() == [2, 0, 1]
    assert list(converted.data["class_name"]) == ["c", "a", "b"]
    assert len(detections[:0].to_supervision()) == 0


def test_supervision_round_trip() -> None:
    boxes = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    found = Detections(
        boxes, torch.tensor([0.75, 0.5]), torch.tensor([1, 0]), ("fox", "hare"), tracks=torch.tensor([4, -1])
    )
    again = Detections.from_supervision(found.to_supervision(), class_names=("owl", "hare", "fox"))
    assert torch.equal(again.boxes, boxes)
    assert again.scores.tolist() == [0.75, 0.5]
    assert again.labels.tolist() == [1, 2]  # by name
    assert again.class_names == ("owl", "hare", "fox")
    assert again.tracks is not None
    assert again.tracks.tolist() == [4, -1]
    with pytest.raises(InputError, match="expected classes hare, got fox"):
        Detections.from_supervision(found.to_supervision(), class_names=["hare"])
