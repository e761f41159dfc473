"""Small prediction tables, predictions files and data sets for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from megavid.core.detections import Detections, FrameResult
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.evaluation.prediction_table import PredictionTable

CLASSES = ("cat", "dog")


def frame_result(index: int, *rows: tuple[float, ...]) -> FrameResult:
    """Make the result of a frame; each row has a label, a score, and the four coordinates of a box."""
    values = torch.tensor(rows).reshape(-1, 6)
    found = Detections(values[:, 2:], values[:, 1], values[:, 0].long(), CLASSES)
    return FrameResult(index, 0.0, found)


def write_file(path: Path, video: str, *results: FrameResult) -> Path:
    """Write the results of one video to a predictions file, and return the path of the file."""
    writer = PredictionWriter(path, metadata={"weights": "x"})
    for one in results:
        writer.write(video, one)
    writer.close()
    return path


def make_table(path: Path = Path("p.parquet"), **changes: Any) -> PredictionTable:
    """Make a table of three boxes: two in frame 4 of video a, and one in frame 0 of video b."""
    columns: dict[str, Any] = {
        "videos": ("a", "b"),
        "video": np.array([0, 0, 1], np.int32),
        "frame": np.array([4, 4, 0]),
        "labels": np.array([1, 0, 1], np.int32),
        "scores": np.array([0.9, 0.5, 0.25], np.float32),
        "boxes": np.array([[0, 0, 5, 5], [1, 1, 4, 4], [2, 2, 3, 3]], np.float32),
        "class_names": CLASSES,
        "lengths": {"a": 2, "b": 1},
        "origin": path,
    }
    return PredictionTable(**columns | changes)


def make_data_set(**videos: list[int]) -> Annotations:
    """Make a data set without objects, given the frame numbers of each video."""
    builder = AnnotationBuilder(("dog", "cat"), root=Path("/data"))
    for name, numbers in videos.items():
        builder.video(name)
        for number in numbers:
            builder.frame(number)
    return builder.build()


def assert_same_rows(one: PredictionTable, two: PredictionTable) -> None:
    names = [[p.videos[v] for v in p.video] for p in (one, two)]
    assert names[0] == names[1]
    assert one.class_names == two.class_names
    for name in ("frame", "labels", "scores", "boxes"):
        a, b = getattr(one, name), getattr(two, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
