"""Average precision, compared with values by hand, values of the original, and a simple evaluator."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.evaluation import Boxes, average_precision, average_precision_by_motion
from megavid.evaluation.matching import find_overlaps, match
from tests.conftest import SHARED, require_shared
from tests.evaluation.simple_ap import simple_ap

A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [100, 100, 110, 110]


def score(found: Boxes, truth: Boxes, **options: Any) -> list[float]:
    options = {"num_frames": 2, "num_classes": 1} | options
    return [float(ap) for ap in average_precision(found, truth, **options).ap]


def test_a_false_positive_between_two_hits() -> None:
    truth = Boxes([0, 0], [A, B], [0, 0])
    found = Boxes([0, 0, 0], [A, FAR, B], [0, 0, 0], [0.9, 0.8, 0.7])
    # The curve has recall 1/2 at precision 1, and recall 1 at precision 2/3.
    assert score(found, truth) == pytest.approx([0.5 * 1 + 0.5 * 2 / 3])


def test_the_precision_recall_curve_and_its_envelope() -> None:
    truth = Boxes([0, 0, 1], [A, B, A], [0, 0, 0])
    found = Boxes([0, 0, 0, 1], [FAR, A, B, A], [0] * 4, [0.9, 0.8, 0.7, 0.6])
    [curve] = average_precision(found, truth, num_frames=2, num_classes=1).curves
    assert curve.precision.tolist() == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    assert curve.envelope.tolist() == pytest.approx([3 / 4] * 3)
    assert curve.recall.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert curve.score.tolist() == pytest.approx([0.8, 0.7, 0.6])
    assert (curve.objects, curve.found) == (3, 4)
    assert curve.ap == pytest.approx(3 / 4)


def test_a_second_detection_of_an_object_is_a_false_positive() -> None:
    truth = Boxes([0], [A], [0])
    found = Boxes([0, 0], [A, A], [0, 0], [0.5, 0.9])
    [curve] = average_precision(found, truth, num_frames=1, num_classes=1).curves
    assert (curve.recall.tolist(), curve.score.tolist()) == ([1.0], [pytest.approx(0.9)])
    # If the second detection of A comes before the hit on B, it is a false positive between two hits.
    twice = Boxes([0, 0], [A, B], [0, 0])
    found = Boxes([0, 0, 0], [A, A, B], [0] * 3, [0.9, 0.8, 0.7])
    assert score(found, twice) == pytest.approx([0.5 + 0.5 * 2 / 3])


def test_a_detection_whose_best_object_is_taken_hits_the_next_best_one() -> None:
    truth = Boxes([0, 0], [[0, 0, 10, 10], [2, 0, 12, 10]], [0, 0])
    found = Boxes([0, 0], [[0, 0, 10, 10], [0, 0, 10, 10]], [0, 0], [0.9, 0.8])
    assert score(found, truth) == [1.0]  # IoU with the second object: 9 * 11 / (2 * 121 - 99) = 0.69


@pytest.mark.parametrize(("height", "hit"), [(5, True), (4, False)])
def test_the_iou_includes_the_last_row_and_column_of_pixels(height: int, hit: bool) -> None:
    # Both corners are inside, so the object has 11 x 11 pixels: 11 x 6 are more than half, 11 x 5 are less.
    truth = Boxes([0], [[0, 0, 10, 10]], [0])
    found = Boxes([0], [[0, 0, 10, height]], [0], [1.0])
    assert score(found, truth) == [float(hit)]


def test_an_iou_of_exactly_one_half_is_a_hit() -> None:
    truth = Boxes([0], [[0, 0, 9, 9]], [0])
    assert score(Boxes([0], [[0, 0, 9, 4]], [0], [1.0]), truth) == [1.0]  # 10 x 5 of the 10 x 10 pixels


def test_boxes_of_different_frames_or_classes_do_not_match() -> None:
    truth = Boxes([0, 1], [A, A], [0, 1])
    found = Boxes([0, 1], [A, A], [1, 0], [0.9, 0.9])
    assert score(found, truth, num_classes=2) == [0.0, 0.0]


def test_the_mean_excludes_classes_without_objects() -> None:
    truth = Boxes([0], [A], [1])
    found = Boxes([0, 0], [A, A], [0, 1], [0.9, 0.8])
    result = average_precision(found, truth, num_frames=1, num_classes=3)
    assert np.isnan(result.ap[[0, 2]]).all()
    assert result.mean == result.ap[1] == 1


def test_ap_without_detections_or_without_objects() -> None:
    nothing = Boxes([], [], [])
    result = average_precision(Boxes([], [], [], []), nothing, num_frames=0, num_classes=2)
    assert np.isnan(result.ap).all()
    assert np.isnan(result.mean)
    truth = Boxes([3], [A], [0])
    assert score(Boxes([], [], [], []), truth, num_frames=4) == [0.0]


def test_equal_scores_are_ordered_by_frame_then_row() -> None:
    truth = Boxes([0, 0, 1], [A, B, A], [0, 0, 0])
    # The order is: B, A, and then the false positive in frame 1.
    found = Boxes([1, 0, 0], [FAR, B, A], [0] * 3, [0.5] * 3)
    assert score(found, truth) == pytest.approx([2 / 3])


def test_an_object_outside_the_motion_range_is_ignored() -> None:
    truth = Boxes([0, 0], [A, B], [0, 0])
    found = Boxes([0, 0], [A, B], [0, 0], [0.9, 0.8])
    # A is too fast for the range, so its detection does not count, and the precision at B is 1.
    options = {"motion_iou": [0.3, 0.95], "motion_range": (0.9, 1.0), "num_frames": 1}
    assert score(found, truth, **options) == [1.0]


@pytest.mark.parametrize(
    ("motion", "range_", "counts"), [(0.7, (0, 0.7), True), (0.7, (0.7, 0.9), True), (0.71, (0, 0.7), False)]
)
def test_motion_ranges_include_both_ends(motion: float, range_: tuple[float, float], counts: bool) -> None:
    result = score(
        Boxes([0], [A], [0], [1.0]), Boxes([0], [A], [0]), motion_iou=[motion], motion_range=range_
    )
    assert result == ([1.0] if counts else [pytest.approx(np.nan, nan_ok=True)])


def test_weight_of_a_false_positive_in_a_frame_without_its_class() -> None:
    # There are three frames: one has a slow object, one a fast object of another class, and one is empty.
    truth = Boxes([0, 1], [A, A], [0, 1])
    found = Boxes([1, 0], [FAR, A], [0, 0], [0.9, 0.8])
    options = {"motion_iou": [1.0, 0.2], "motion_range": (0.9, 1.0), "num_frames": 3, "num_classes": 2}
    # The empty frame counts as a fast object. So one of three objects is slow: the false positive weighs 1/3.
    assert score(found, truth, **options)[0] == pytest.approx(1 / (1 + 1 / 3))
    assert score(found, truth, **options, count_empty_frames=False)[0] == pytest.approx(1 / (1 + 1 / 2))


@pytest.mark.parametrize(
    ("box", "weight"),
    [
        ([0, 0, 10, 3], 1.0),  # nearest to A, which counts
        ([20, 0, 30, 3], 0.0),  # nearest to B, which is ignored
        (FAR, 2 / 3),  # as far from A as from the others: the ignored share of the frame's objects
    ],
)
def test_weight_of_a_false_positive_in_a_frame_with_its_class(box: list[int], weight: float) -> None:
    truth = Boxes([0, 0, 0], [A, B, [40, 0, 50, 10]], [0, 0, 0])
    found = Boxes([0, 0], [box, A], [0, 0], [0.9, 0.8])
    options = {"motion_iou": [1.0, 0.2, 0.2], "motion_range": (0.9, 1.0), "num_frames": 1}
    assert score(found, truth, **options) == pytest.approx([1 / (1 + weight)])


def test_counted_objects_win_ties_over_ignored_ones() -> None:
    found = Boxes([0], [A], [0], [1.0])
    overlaps = find_overlaps(found, Boxes([0, 0], [A, A], [0, 0]), num_frames=1)
    assert match(overlaps, np.array([True, False])).tolist() == [1]
    assert match(overlaps, np.array([False, True])).tolist() == [0]


def test_an_object_of_unknown_motion_is_outside_every_range() -> None:
    truth, found = Boxes([0, 0], [A, B], [0, 0]), Boxes([0, 0], [A, B], [0, 0], [0.9, 0.8])
    results = average_precision_by_motion(found, truth, num_frames=1, num_classes=1, motion_iou=[np.nan, 0.5])
    assert [r.curves[0].objects for r in results.values()] == [2, 1, 0, 0]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (lambda: Boxes([0], [A, B], [0]), r"xyxy: expected shape \(1, 4\), got \(2, 4\)"),
        (lambda: Boxes([0.5], [A], [0]), "frame: expected whole numbers"),
        (lambda: Boxes([0, 0], [A, B], [0, 0], [0.5, np.nan]), "score, row 1: expected a finite number"),
        (lambda: Boxes([0], [[0, np.nan, 1, 1]], [0]), "xyxy, row 0: expected a finite number, got nan"),
        (lambda: Boxes([0], [[0, 0, 1, np.inf]], [0]), "xyxy, row 0: expected a finite number, got inf"),
        (lambda: score(Boxes([0], [A], [0]), Boxes([0], [A], [0])), "found: expected boxes with scores"),
        (
            lambda: score(Boxes([0], [A], [1], [1.0]), Boxes([0], [A], [0])),
            "found, row 0: .* label from 0 to 0",
        ),
        (
            lambda: score(Boxes([0], [A], [0], [1.0]), Boxes([9], [A], [0])),
            "truth, row 0: .* frame from 0 to 1",
        ),
        (
            lambda: score(Boxes([0], [A], [0], [1.0]), Boxes([0], [A], [0]), motion_iou=[0.1, 0.2]),
            r"motion_iou: expected shape \(1,\)",
        ),
    ],
)
def test_inconsistent_arguments_are_refused(boxes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        boxes()


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Boxes, Boxes, NDArray[np.float64]]:
    """Draw boxes of two classes in three frames; on their coarse grid, IoUs and scores are often equal."""

    def boxes(n: int) -> list[list[int]]:
        corners = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(2, 5), st.integers(2, 5))
        return [[3 * x, 3 * y, 3 * (x + w), 3 * (y + h)] for x, y, w, h in (draw(corners) for _ in range(n))]

    def numbers(n: int, top: int) -> list[int]:
        return draw(st.lists(st.integers(0, top), min_size=n, max_size=n))

    m, n = draw(st.integers(0, 8)), draw(st.integers(0, 14))
    truth = Boxes(numbers(m, 2), boxes(m), numbers(m, 1))
    found = Boxes(numbers(n, 2), boxes(n), numbers(n, 1), np.array(numbers(n, 5)) / 5)
    motion = np.array(draw(st.lists(st.sampled_from([0.3, 0.7, 0.8, 0.9, 1.0]), min_size=m, max_size=m)))
    return found, truth, motion


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data_sets(), st.sampled_from([(0.0, 1.0), (0.0, 0.7), (0.7, 0.9), (0.9, 1.0)]))
def test_ap_equals_that_of_the_simple_evaluator(
    data: tuple[Boxes, Boxes, NDArray[np.float64]], range_: tuple[float, float]
) -> None:
    found, truth, motion = data
    options: dict[str, Any] = {
        "num_frames": 3,
        "num_classes": 2,
        "motion_iou": motion,
        "motion_range": range_,
    }
    expected = simple_ap(found, truth, **options)
    assert score(found, truth, **options) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(data_sets(), st.randoms())
def test_the_order_of_rows_does_not_change_the_ap(data: tuple[Boxes, Boxes, Any], random: Any) -> None:
    found, truth, _ = data
    assert found.score is not None
    score_ = found.score + np.linspace(0, 0.01, len(found))  # now no two scores are equal
    rows = random.sample(range(len(found)), len(found))
    mixed = Boxes(found.frame[rows], found.xyxy[rows], found.label[rows], score_[rows])
    options: dict[str, Any] = {"num_frames": 3, "num_classes": 2}
    expected = score(Boxes(found.frame, found.xyxy, found.label, score_), truth, **options)
    assert score(mixed, truth, **options) == pytest.approx(expected, nan_ok=True)


def recorded_cases() -> list[Path]:
    folder = Path(os.environ.get("MEGAVID_REFERENCE", SHARED / "reference"))
    return sorted(folder.glob("eval/*.npz")) or [folder / "eval" / "case_a.npz"]


@pytest.mark.parity
@pytest.mark.parametrize("path", recorded_cases(), ids=lambda path: path.stem)
def test_ap_equals_that_of_the_original(path: Path) -> None:
    arrays = np.load(require_shared(path))
    recorded = json.loads(path.with_suffix(".json").read_text())["stable_descending_variant"]
    frames = len(arrays["gt_offsets"]) - 1
    last_pixel = np.array([0, 0, 1, 1])

    def frame(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.repeat(np.arange(frames), np.diff(offsets))

    truth = Boxes(
        frame(arrays["gt_offsets"]), arrays["gt_boxes"] + last_pixel, arrays["gt_labels"].astype(int) - 1
    )
    found = Boxes(
        frame(arrays["pred_offsets"]),
        arrays["pred_boxes"].astype(np.float64) + last_pixel,
        arrays["pred_labels"].astype(int) - 1,
        arrays["pred_scores"],
    )
    # The file also has a motion value for each frame without objects; these values are left out here.
    occupied = np.diff(arrays["gt_offsets"]) > 0
    motion = arrays["motion_iou"][occupied[frame(arrays["motion_offsets"])]]
    results = average_precision_by_motion(found, truth, num_frames=frames, num_classes=30, motion_iou=motion)
    keys = {"all": "motion_0_1", "fast": "motion_0_0.7", "medium": "motion_0.7_0.9", "slow": "motion_0.9_1"}
    for name, key in keys.items():
        expected = np.array(recorded[key]["ap"][1:], float)
        np.testing.assert_allclose(results[name].ap, expected, atol=1e-9)
        assert results[name].mean == pytest.approx(recorded[key]["map"], abs=1e-9)
    assert results["all"].mean == pytest.approx(recorded["plain"]["map"], abs=1e-9)
