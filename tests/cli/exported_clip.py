"""Export the predictions of the clip in `tests.evaluation.predicted_clip`, and read and compare its boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from megavid.cli import main
from megavid.core.frames import Image
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from tests.evaluation.predicted_clip import FRAMES, HEIGHT, ROWS, WIDTH, Row


def images() -> list[Image]:
    return [np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8) for i in range(FRAMES)]


def export(folder: Path, form: str, out: str, *options: object, source: str = "p.parquet") -> int:
    arguments = ["predictions", "to", str(folder / out), str(folder / source), "--as", form]
    return main([*arguments, *map(str, options)])


def read(path: Path, **options: Any) -> Annotations:
    return open_annotations(Source(path=path, **options), problems=Problems())


def rows_of(a: Annotations, *, video: int = 0) -> list[tuple[Any, ...]]:
    """Return frame, class, track and box of each box of a video; tracks are named after their first box."""
    found: list[tuple[Any, ...]] = []
    first: dict[int, tuple[Any, ...]] = {}
    for row, frame in enumerate(a.box_frames.tolist()):
        if a.video[frame] == video:
            number, box = int(a.number[frame]), tuple(np.round(a.boxes[row], 3).tolist())
            name = (
                first.setdefault(int(a.tracks[row]), (number, box)) if a.tracks[row] >= 0 else (number, box)
            )
            found.append((number, a.classes[a.labels[row]], name, box))
    return sorted(found)


def expected_rows(rows: tuple[Row, ...] = ROWS) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    first: dict[int, tuple[Any, ...]] = {}
    for frame, label, track, _, *box in rows:
        name = (frame, tuple(box)) if track < 0 else first.setdefault(track, (frame, tuple(box)))
        found.append((frame, ("cat", "dog")[label], name, tuple(box)))
    return sorted(found)
