"""Sorting errors of detections by kind, compared with kinds assigned by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from megavid.evaluation import Boxes
from megavid.evaluation.error_analysis import KINDS, OUTCOMES, find_errors

A, B = [0, 0, 19, 19], [100, 0, 119, 19]  # 20 x 20 pixels each, since both corners are inside
NEAR_A = [0, 0, 19, 14]  # IoU of 15 / 20 with A
OFF_A = [0, 0, 19, 6]  # IoU of 7 / 20 with A
FAR = [300, 300, 320, 320]


def outcomes(
    found: list[tuple[list[int], int, float]], truth: list[tuple[list[int], int]], **options: Any
) -> Any:
    boxes = Boxes([0] * len(found), *map(list, zip(*found, strict=True)))
    objects = Boxes([0] * len(truth), *(map(list, zip(*truth, strict=True)) if truth else ([], [])))
    errors = find_errors(boxes, objects, num_frames=1, **options)
    by_row = dict(zip(errors.rows.tolist(), (OUTCOMES[i] for i in errors.outcome.tolist()), strict=True))
    return [by_row.get(row) for row in range(len(found))], errors


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        (NEAR_A, 0, "duplicate"),
        (NEAR_A, 1, "class"),
        (OFF_A, 0, "location"),
        (OFF_A, 1, "background"),
        (FAR, 0, "background"),
        (B, 0, "class"),
        (B, 1, "hit"),
    ],
)
def test_kinds_of_errors(box: list[int], label: int, kind: str) -> None:
    found, errors = outcomes([(A, 0, 0.9), (box, label, 0.8)], [(A, 0), (B, 1)])
    assert found == ["hit", kind]
    missed = kind != "hit"
    assert errors.missed.tolist() == [False, missed]
    expected = dict.fromkeys(KINDS, 0) | ({kind: 1, "missed": 1} if missed else {})
    assert errors.totals == expected


def test_the_detection_with_the_higher_score_is_the_hit() -> None:
    found, _ = outcomes([(NEAR_A, 0, 0.8), (A, 0, 0.7), (FAR, 0, 0.6)], [(A, 0)])
    assert found == ["hit", "duplicate", "background"]


def test_only_detections_above_the_score_threshold_count() -> None:
    found, errors = outcomes([(A, 0, 0.5), (A, 0, 0.4)], [(A, 0)])
    assert found == [None, None]
    assert errors.totals["missed"] == 1
    found, _ = outcomes([(A, 0, 0.5), (A, 0, 0.4)], [(A, 0)], score_threshold=0.45)
    assert found == ["hit", None]


def test_ignored_objects_need_not_be_found() -> None:
    _, errors = outcomes([(A, 0, 0.9)], [(A, 0), (B, 0)], ignored=np.array([False, True]))
    assert errors.totals == dict.fromkeys(KINDS, 0)


def test_boxes_of_different_frames_do_not_match() -> None:
    truth = Boxes([2, 0], [A, A], [0, 0])
    found = Boxes([0, 1, 2], [A, A, FAR], [0, 0, 0], [0.7, 0.8, 0.9])
    errors = find_errors(found, truth, num_frames=4)
    assert errors.rows.tolist() == [2, 1, 0]
    assert [OUTCOMES[i] for i in errors.outcome] == ["background", "background", "hit"]
    assert errors.missed.tolist() == [True, False]
    background, missed = list(KINDS).index("background"), list(KINDS).index("missed")
    assert errors.per_frame[:, background].tolist() == [0, 1, 1, 0]
    assert errors.per_frame[:, missed].tolist() == [0, 0, 1, 0]


def test_without_detections_and_objects_there_are_no_errors() -> None:
    errors = find_errors(Boxes([], [], [], []), Boxes([], [], []), num_frames=2)
    assert errors.per_frame.sum() == 0
