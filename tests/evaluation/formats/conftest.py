"""A small data set, and predictions on it, for tests of prediction formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.evaluation.prediction_table import PredictionTable
from tests.evaluation.prediction_tables import make_table


@pytest.fixture
def data(tmp_path: Path) -> Annotations:
    """Make two videos: b with frames 3 and 4 of 200x100 pixels, and a with frame 0 of 60x40 pixels."""
    builder = AnnotationBuilder(("dog", "cat"), root=tmp_path, category_ids=(10, 20))
    builder.video("b")
    builder.frame(3, width=200, height=100, image_id=7)
    builder.frame(4, width=200, height=100, image_id=9)
    builder.video("a")
    builder.frame(0, width=60, height=40, image_id=8)
    return builder.build()


@pytest.fixture
def table() -> PredictionTable:
    """Make a table of three boxes: two in frame 4 of video b, and one in frame 0 of video a."""
    return make_table(
        videos=("b", "a"),
        scores=np.array([0.9, 1 / 3, 0.25], np.float32),
        boxes=np.array([[0.1, 0, 5, 5], [1, 1, 4.7, 4], [2, 2, 3, 3]], np.float32),
        class_names=("dog", "cat"),
        lengths=None,
    )
