"""AP by video and by size, the best threshold, and the confusion matrix, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from megavid.evaluation import Boxes
from megavid.evaluation.best_f1 import best_f1
from megavid.evaluation.by_size import average_precision_by_size
from megavid.evaluation.by_video import ap_by_video
from megavid.evaluation.confusion import confusion_matrix
from megavid.evaluation.error_analysis import find_errors
from tests.evaluation.all_outcomes import all_outcomes

A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [200, 200, 210, 210]


def test_ap_by_video() -> None:
    # Video 0 (frames 0 and 1): class 0 is found after a false positive, class 1 is missed. Video 1 (frame 2):
    # class 0 is found. Video 2 (frame 3) has no objects and a false positive.
    truth = Boxes([0, 1, 2], [A, B, A], [0, 1, 0])
    found = Boxes([1, 0, 2, 3], [FAR, A, A, A], [0, 0, 0, 0], [0.9, 0.8, 0.7, 0.95])
    outcomes = all_outcomes(found, truth, num_frames=4, num_classes=2)
    ap = ap_by_video(outcomes, np.array([0, 0, 1, 2]), num_videos=4)
    np.testing.assert_array_equal(ap, [(0.5 + 0) / 2, 1, np.nan, np.nan])


def test_ap_by_size() -> None:
    small, large = [0, 0, 30, 30], [0, 100, 100, 200]
    truth = Boxes([0, 0], [small, large], [0, 0])
    # By score: a small false positive, the small object, a large false positive, the large object.
    found = Boxes([0] * 4, [FAR, small, [300, 0, 400, 100], large], [0] * 4, [0.9, 0.8, 0.7, 0.6])
    none = np.zeros(2, np.bool_)
    areas = np.array([900.0, 10_000.0])
    results = average_precision_by_size(found, truth, num_frames=1, num_classes=1, areas=areas, ignored=none)
    assert results["small"].mean == results["large"].mean == 1 / 2
    assert np.isnan(results["medium"].mean)
    # With a smaller area, the large object is a medium one, and its detection is no large false positive.
    areas[1] = 32.0**2 + 1
    results = average_precision_by_size(found, truth, num_frames=1, num_classes=1, areas=areas, ignored=none)
    assert [results[name].curves[0].objects for name in ("small", "medium", "large")] == [1, 1, 0]
    assert results["medium"].mean == 1


def test_the_threshold_with_the_best_f1_is_found() -> None:
    truth = Boxes([0, 0, 1, 1], [A, B, A, B], [0] * 4)
    found = Boxes([0, 0, 1, 1], [A, B, FAR, A], [0] * 4, [0.75, 0.5, 0.25, 0.125])
    best = best_f1(all_outcomes(found, truth, num_frames=2, num_classes=1))
    assert best is not None
    # F1 is 2 * 3 / (2 * 3 + 1 + 1) = 3/4 with all four detections, and 2 * 2 / (2 * 2 + 2) = 2/3 with two.
    assert (best.f1, best.precision, best.recall) == (3 / 4, 3 / 4, 3 / 4)
    assert best.score_threshold == 0.125 / 2
    fewer = found.take(np.arange(3))
    best = best_f1(all_outcomes(fewer, truth, num_frames=2, num_classes=1))
    assert best is not None
    assert (best.f1, best.precision, best.recall) == (2 / 3, 1, 1 / 2)
    assert best.score_threshold == (0.5 + 0.25) / 2


def test_equal_scores_are_not_split_by_the_threshold() -> None:
    truth, found = Boxes([0], [A], [0]), Boxes([0, 0], [A, FAR], [0, 0], [0.5, 0.5])
    best = best_f1(all_outcomes(found, truth, num_frames=1, num_classes=1))
    assert best is not None
    assert (best.precision, best.recall, best.f1) == (1 / 2, 1, 2 / 3)


def test_several_classes_have_one_threshold_with_the_best_f1() -> None:
    truth = Boxes([0, 0], [A, B], [0, 1])
    found = Boxes([0, 0, 0], [A, B, FAR], [0, 1, 1], [0.75, 0.5, 0.25])
    best = best_f1(all_outcomes(found, truth, num_frames=1, num_classes=2))
    assert best is not None
    assert (best.f1, best.score_threshold) == (1, 0.375)


def test_without_hits_there_is_no_best_f1() -> None:
    truth, found = Boxes([0], [A], [0]), Boxes([0], [FAR], [0], [0.5])
    assert best_f1(all_outcomes(found, truth, num_frames=1, num_classes=1)) is None
    assert best_f1([]) is None


def test_a_confusion_matrix_computed_by_hand() -> None:
    # Frame 0: A is found, B is detected as class 1, and a detection of class 1 is on no object. Frame 1: the
    # score of the detection of A is too low, so A is missed, and the ignored object B is found.
    truth = Boxes([0, 0, 1, 1], [A, B, A, B], [0, 0, 1, 0])
    found = Boxes([0, 0, 0, 1, 1], [A, B, FAR, B, A], [0, 1, 1, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.4])
    ignored = np.array([False, False, False, True])
    errors = find_errors(found, truth, num_frames=2, ignored=ignored)
    confusion = confusion_matrix(found, truth, errors, classes=("a", "b"), num_frames=2)
    assert confusion.counts.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert confusion.score_threshold == 0.5


def test_a_hit_is_matched_before_a_box_of_another_class_with_a_higher_score() -> None:
    truth = Boxes([0], [A], [0])
    found = Boxes([0, 0], [A, A], [1, 0], [0.9, 0.6])
    errors = find_errors(found, truth, num_frames=1)
    confusion = confusion_matrix(found, truth, errors, classes=("a", "b"), num_frames=1)
    assert confusion.counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("ignored", [False, True])
def test_the_confusion_matrix_counts_each_object_and_detection_once(ignored: bool) -> None:
    rng = np.random.default_rng(0)

    def boxes(n: int) -> tuple[list[int], list[list[int]], list[int]]:
        corner = rng.integers(0, 12, (n, 2))
        frame, label = rng.integers(0, 6, n).tolist(), rng.integers(0, 3, n).tolist()
        return frame, np.hstack((corner, corner + 10)).tolist(), label

    truth, found = Boxes(*boxes(40)), Boxes(*boxes(60), np.linspace(0.51, 0.99, 60))
    flags = rng.random(40) < (0.3 if ignored else 0)
    errors = find_errors(found, truth, num_frames=6, ignored=flags)
    counts = confusion_matrix(found, truth, errors, classes="abc", num_frames=6).counts
    expected = np.bincount(truth.label[~flags], minlength=3)
    np.testing.assert_array_equal(counts[:3].sum(axis=1), expected)
    if not ignored:
        np.testing.assert_array_equal(counts[:, :3].sum(axis=0), np.bincount(found.label, minlength=3))
