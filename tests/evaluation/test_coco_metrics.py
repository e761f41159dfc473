"""COCO's metrics, computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from megavid.evaluation import Boxes
from megavid.evaluation.coco_metrics import NAMES, coco_metrics

A, B = [0, 0, 10, 10], [20, 0, 30, 10]
SIZE: dict[str, Any] = {"num_frames": 3, "num_classes": 2}


def test_metrics_computed_by_hand() -> None:
    # The second detection has an IoU of 0.8: it is a hit at 7 of the 10 IoU thresholds, 0.5 to 0.8.
    found = Boxes([0, 0], [A, [20, 0, 30, 8]], [0, 0], [0.9, 0.8])
    metrics = coco_metrics(found, Boxes([0, 0], [A, B], [0, 0]), **SIZE)
    assert metrics["AP50"] == metrics["AP75"] == 1
    assert metrics["AR 100"] == pytest.approx((7 * 1 + 3 * 0.5) / 10)
    # At the other 3, one of the two objects is found at precision 1: 51 of the 101 recalls have precision 1.
    assert metrics["AP"] == pytest.approx((7 + 3 * 51 / 101) / 10)
    assert metrics["AR 1"] == pytest.approx(0.5)
    assert metrics["AP small"] == metrics["AP"]
    assert np.isnan(metrics["AP large"])


def test_ignored_objects_need_not_be_found() -> None:
    found, truth = Boxes([0], [A], [0], [0.9]), Boxes([0, 0], [A, B], [0, 0])
    ignored = np.array([False, True])
    assert coco_metrics(found, truth, **SIZE)["AR 100"] == 0.5
    assert coco_metrics(found, truth, ignored=ignored, **SIZE)["AR 100"] == 1
    assert coco_metrics(found, truth, ignored=ignored, crowds=ignored, **SIZE)["AR 100"] == 1


def test_several_detections_may_find_a_crowd_but_no_other_ignored_object() -> None:
    # By score: three detections on B, which is an ignored crowd, and then one detection on A.
    found, truth = Boxes([0] * 4, [B, B, B, A], [0] * 4, [0.9, 0.8, 0.7, 0.6]), Boxes([0, 0], [A, B], [0, 0])
    flags = np.array([False, True])
    assert coco_metrics(found, truth, ignored=flags, crowds=flags, **SIZE)["AP50"] == 1
    # If B is ignored but not a crowd, it takes one detection, and the other two on B are false positives.
    assert coco_metrics(found, truth, ignored=flags, **SIZE)["AP50"] == pytest.approx(1 / 3)


def test_object_sizes_follow_the_given_areas() -> None:
    large = [0, 0, 100, 100]
    found, truth = Boxes([0], [large], [0], [0.9]), Boxes([0], [large], [0])
    by_box = coco_metrics(found, truth, **SIZE)
    by_area = coco_metrics(
        found, truth, areas=np.array([2000.0]), **SIZE
    )  # as if the object filled little of its box
    assert (by_box["AP large"], by_area["AP medium"]) == (1, 1)
    assert np.isnan([by_box["AP medium"], by_area["AP large"]]).all()


def test_metrics_without_detections_or_without_objects() -> None:
    nothing = Boxes([], [], [], [])
    assert set(coco_metrics(nothing, Boxes([0], [A], [0]), **SIZE).values()) == {0.0}
    metrics = coco_metrics(Boxes([0], [A], [0], [0.9]), Boxes([], [], []), **SIZE)
    assert metrics.keys() == NAMES.keys()
    assert np.isnan(list(metrics.values())).all()
