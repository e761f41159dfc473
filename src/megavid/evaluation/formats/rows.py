"""Collecting predicted boxes one by one, for files that know a frame by its row in the data set."""

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
from megavid.evaluation.prediction_table import Predictions, without_bad_rows

_ROWS_AT_ONCE = 1 << 16


class RowCollector:
    """Takes a file's boxes one by one, in the memory that the columns take in the end.

    Args:
        path: The file, for messages.
        unit: What the file has one of for each box, for messages.
    """

    def __init__(self, path: Path, *, unit: str) -> None:
        self._path = path
        self._unit = unit
        self._places, self._frames, self._labels = (array("i") for _ in range(3))
        self._scores, self._boxes = array("f"), array("f")

    def add(self, place: int, *, frame: int, label: int, score: float, box: Sequence[float]) -> None:
        """The next box, half-open.

        Args:
            place: The number of the unit that it stands in.
            frame: The data set's row.
            label: The data set's class.
            score: In [0, 1].
            box: x1 y1 x2 y2.
        """
        self._places.append(place)
        self._frames.append(frame)
        self._labels.append(label)
        self._scores.append(score)
        self._boxes.extend(box)

    def build(self, annotations: Annotations, problems: Problems) -> Predictions:
        """All boxes that make sense.

        Raises:
            InputError: See `without_bad_rows`.
        """
        read = predictions_at(
            annotations,
            _column(self._frames),
            labels=_column(self._labels),
            scores=_column(self._scores),
            boxes=_column(self._boxes).reshape(-1, 4),
            origin=self._path,
        )
        return without_bad_rows(read, problems, unit=self._unit, places=_column(self._places))


def predictions_at(
    annotations: Annotations,
    frame: NDArray[Any],
    *,
    labels: NDArray[np.int32],
    scores: NDArray[np.float32],
    boxes: NDArray[np.float32],
    origin: Path,
    lengths: dict[str, int] | None = None,
) -> Predictions:
    """Predictions of the data set's frames (N,), with its classes."""
    return Predictions(
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
    """Frame, label, score and box of each row."""
    assert found.score is not None
    for start in range(0, len(found), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        columns = (found.frame[rows], found.label[rows], found.score[rows], found.xyxy[rows])
        yield from zip(*(column.tolist() for column in columns), strict=True)


def _column(values: array[Any]) -> NDArray[Any]:
    return np.frombuffer(values, values.typecode)
