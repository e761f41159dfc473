"""Read and write boxes in file formats that identify a frame by its row in the data set."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.prediction_table import PredictionTable, without_bad_rows

_ROWS_AT_ONCE = 1 << 16


class RowCollector:
    """Collects the boxes of a file one by one, in little more memory than the resulting table takes.

    Args:
        path: The file, for messages.
        unit: What the file has for each box, such as "line" or "entry", for messages.
    """

    def __init__(self, path: Path, *, unit: str) -> None:
        self._path = path
        self._unit = unit
        self._places, self._frames, self._labels = (array("i") for _ in range(3))
        self._scores, self._boxes = array("f"), array("f")

    def add(self, place: int, *, frame: int, label: int, score: float, box: Sequence[float]) -> None:
        """Append a box.

        Args:
            place: Number of the box's line or entry in the file.
            frame: Row of the frame in the data set, or its number in the video.
            label: Number of the class, from 0.
            score: Score in [0, 1].
            box: x1 y1 x2 y2, half-open, in pixels of the frame.
        """
        self._places.append(place)
        self._frames.append(frame)
        self._labels.append(label)
        self._scores.append(score)
        self._boxes.extend(box)

    def build(self, annotations: Annotations, problems: Problems) -> PredictionTable:
        """Return the table of all valid boxes.

        Raises:
            InputError: A box is invalid; see `without_bad_rows`.
        """
        table = table_of_frame_rows(
            annotations,
            _column(self._frames),
            labels=_column(self._labels),
            scores=_column(self._scores),
            boxes=_column(self._boxes).reshape(-1, 4),
            origin=self._path,
        )
        return without_bad_rows(table, problems, unit=self._unit, places=_column(self._places))

    def build_video(self, video: str, class_names: Sequence[str], problems: Problems) -> PredictionTable:
        """Return the table of all valid boxes of a single video.

        Args:
            video: Name of the video.
            class_names: Names of the classes.
            problems: Collects invalid boxes.

        Raises:
            InputError: A box is invalid; see `without_bad_rows`.
        """
        table = PredictionTable(
            videos=(video,),
            video=np.zeros(len(self._places), np.int32),
            frame=_column(self._frames).astype(np.int64),
            labels=_column(self._labels),
            scores=_column(self._scores),
            boxes=_column(self._boxes).reshape(-1, 4),
            class_names=tuple(class_names),
            lengths=None,
            origin=self._path,
        )
        return without_bad_rows(table, problems, unit=self._unit, places=_column(self._places))


def table_of_frame_rows(
    annotations: Annotations,
    frame: NDArray[Any],
    *,
    labels: NDArray[np.int32],
    scores: NDArray[np.float32],
    boxes: NDArray[np.float32],
    origin: Path,
    lengths: dict[str, int] | None = None,
) -> PredictionTable:
    """Return a table of boxes in frames of a data set.

    Args:
        annotations: The data set, which names the videos and classes.
        frame: (N,), row of each box's frame in the data set.
        labels: (N,), number of each box's class in the data set.
        scores: (N,), in [0, 1].
        boxes: (N, 4), half-open, in pixels of the frame.
        origin: The file, for messages.
        lengths: Number of processed frames of each video; None if the file does not tell.
    """
    return PredictionTable(
        videos=annotations.videos,
        video=annotations.video[frame],
        frame=annotations.number[frame],
        labels=labels,
        scores=scores,
        boxes=boxes,
        class_names=annotations.classes,
        lengths=lengths,
        origin=origin,
    )


def each_row(found: Boxes) -> Iterator[tuple[int, int, float, list[float]]]:
    """Iterate over the detections: the frame, label, score and box of each."""
    assert found.score is not None
    for start in range(0, len(found), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        columns = (found.frame[rows], found.label[rows], found.score[rows], found.xyxy[rows])
        yield from zip(*(column.tolist() for column in columns), strict=True)


def _column(values: array[Any]) -> NDArray[Any]:
    return np.frombuffer(values, values.typecode)
