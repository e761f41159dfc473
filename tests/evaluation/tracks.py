"""Small data sets with tracks, and detections in them, for tests of steadiness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.evaluation import Boxes
from megavid.evaluation.measure_steadiness import measure_steadiness

CAT, DOG = 0, 1
BOX = [0.0, 0.0, 20.0, 10.0]
FAR = [0.0, 100.0, 20.0, 110.0]

Detection = tuple[int, list[float], int, float]
"""Row of the frame, box, class and score."""


def moved(t: int, dx: float = 0, width: float = 1, height: float = 1, dy: float = 0) -> list[float]:
    """Return a box of 20 x 10 pixels that moves by 5 pixels a frame, displaced and with scaled sides."""
    x, y, w, h = 5 * t + 10 + dx, 5 + dy, 20 * width, 10 * height
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def one_track(frames: Sequence[int]) -> Annotations:
    """Make a video of ten frames with a cat in some of them."""
    builder = AnnotationBuilder(("cat", "dog"), root=Path("/data"))
    builder.video("v")
    for t in range(10):
        builder.frame(t)
        if t in frames:
            builder.box(*moved(t), label=CAT, track=3)
    return builder.build()


def still_tracks(*objects: dict[str, Any], frames: int = 4) -> Annotations:
    """Make a video in which each object, given by keywords of `box`, stays in its place, 50 pixels apart."""
    builder = AnnotationBuilder(("cat", "dog"), root=Path("/data"))
    builder.video("v")
    for t in range(frames):
        builder.frame(t)
        for place, options in enumerate(objects):
            builder.box(*at(place), **{"label": CAT, **options})
    return builder.build()


def at(place: int) -> list[float]:
    return [50.0 * place, 0.0, 50.0 * place + 20, 10.0]


def measure(
    data: Annotations,
    *found: Detection,
    threshold: float | None = 0.5,
    detected: NDArray[np.bool_] | None = None,
    interpolated: NDArray[np.bool_] | None = None,
) -> Any:
    columns: list[Any] = list(zip(*found, strict=True)) if found else [[], [], [], []]
    boxes = Boxes(*columns)
    truth = Boxes(data.box_frames, data.boxes, data.labels)
    return measure_steadiness(
        boxes, truth, data, score_threshold=threshold, detected=detected, interpolated=interpolated
    )


EXAMPLE: list[Detection] = [
    (1, moved(1, +1, 0.9, 0.9), CAT, 0.9),
    (2, moved(2), DOG, 0.8),
    (3, moved(3, -1, 1.1, 1.1), CAT, 0.9),
    (4, moved(4), CAT, 0.4),  # below the threshold
    (6, moved(6, +1, 0.9, 0.9), CAT, 0.9),
    (7, moved(7, -1, 1.1, 1.1), CAT, 0.9),
    (9, FAR, CAT, 0.9),
]


def videos(count: int = 2) -> Annotations:
    """Make videos of four frames, each with a cat on one track."""
    builder = AnnotationBuilder(("cat", "dog"), root=Path("/data"))
    for name in "abc"[:count]:
        builder.video(name)
        for t in range(4):
            builder.frame(t)
            builder.box(*BOX, label=CAT, track=1)
    return builder.build()
