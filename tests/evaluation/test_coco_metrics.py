"""COCO's metrics on boxes that can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from megavid.evaluation import Boxes
from megavid.evaluation.coco_metrics import NAMES, coco_metrics

A, B = [0, 0, 10, 10], [20, 0, 30, 10]
SIZE: dict[str, Any] = {"num_frames": 3, "num_classes": 2}


def test_by_hand() -> None:
    # The second overlaps its object by 0.8: found at 7 of the 10 thresholds.
    found = Boxes([0, 0], [A, [20, 0, 30, 8]], [0, 0], [0.9, 0.8])
    metrics = coco_metrics(found, Boxes([0, 0], [A, B], [0, 0]), **SIZE)
    assert metrics["AP50"] == metrics["AP75"] == 1
    assert metrics["AR 100"] == pytest.approx((7 * 1 + 3 * 0.5) / 10)
    # Half of the objects are reached at precision 1: 51 of 101 points.
    assert metrics["AP"] == pytest.approx((7 + 3 * 51 / 101) / 10)
    assert metrics["AR 1"] == pytest.approx(0.5)
    assert metrics["AP small"] == metrics["AP"]
    assert np.isnan(metrics["AP large"])


def test_a_crowd_does_not_count() -> None:
    found, truth = Boxes([0], [A], [0], [0.9]), Boxes([0, 0], [A, B], [0, 0])
    assert coco_metrics(found, truth, **SIZE)["AR 100"] == 0.5
    assert coco_metrics(found, truth, ignored=np.array([False, True]), **SIZE)["AR 100"] == 1


def test_nothing_found_and_nothing_there() -> None:
    nothing = Boxes([], [], [], [])
    assert set(coco_metrics(nothing, Boxes([0], [A], [0]), **SIZE).values()) == {0.0}
    metrics = coco_metrics(Boxes([0], [A], [0], [0.9]), Boxes([], [], []), **SIZE)
    assert metrics.keys() == NAMES.keys()
    assert np.isnan(list(metrics.values())).all()
