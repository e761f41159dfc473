"""Plots of scores, and the values that are drawn in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from megavid.evaluation import Boxes, average_precision_by_motion
from megavid.evaluation.plots import (
    draw_ap_bars,
    draw_error_bars,
    draw_pr_curves,
    envelope_at,
    plot_pr_curves,
)


def widths_of(axes: Axes) -> list[float]:
    return [patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle)]


def test_the_envelope_is_sampled_at_recalls() -> None:
    truth = Boxes([0, 0], [[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0])
    found = Boxes([0, 0], [[50, 0, 60, 10], [0, 0, 10, 10]], [0, 0], [0.9, 0.8])
    results = average_precision_by_motion(found, truth, num_frames=1, num_classes=1, motion_iou=None)
    recalls = np.array([0, 0.25, 0.5, 0.51, 1])
    assert envelope_at(results["all"].curves[0], recalls).tolist() == [0.5, 0.5, 0.5, 0, 0]


@pytest.mark.parametrize("classes", [1, 7, 30])
def test_plots_of_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    rng = np.random.default_rng(0)
    frame, label = rng.integers(0, 20, 200), rng.integers(0, classes, 200)
    boxes = rng.uniform(0, 50, (200, 4)) + np.array([0, 0, 60, 60])
    truth = Boxes(frame, boxes, label)
    found = Boxes(frame, boxes + rng.normal(0, 9, boxes.shape), label, rng.random(200))
    motion = rng.random(200)
    results = average_precision_by_motion(found, truth, num_frames=20, num_classes=classes, motion_iou=motion)
    names = [f"a class of ${i}" for i in range(classes)]
    plot_pr_curves(results, names, tmp_path / "pr.png")
    assert np.asarray(PIL.Image.open(tmp_path / "pr.png").convert("L")).std() > 10
    axes = draw_ap_bars(results, names).axes[0]
    widths = widths_of(axes)
    assert widths == pytest.approx(sorted((100 * results["all"].ap).tolist(), reverse=True))


def test_plots_without_boxes() -> None:
    nothing = Boxes([], [], [], [])
    results = average_precision_by_motion(nothing, nothing, num_frames=1, num_classes=2, motion_iou=None)
    assert draw_pr_curves(results, ["a", "b"]).axes
    assert draw_ap_bars(results, ["a", "b"]).axes
    assert widths_of(draw_error_bars({"class": 3, "missed": 0}).axes[0]) == [3, 0]
