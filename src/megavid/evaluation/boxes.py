"""Boxes in the frames of a data set, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from megavid.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes in all frames of a data set: annotated objects, or detections, which have scores.

    Attributes:
        frame: int (N,), row of the frame in the data set.
        xyxy: float (N, 4), half-open x1 y1 x2 y2, in pixels.
        label: int (N,), class, from 0.
        score: float (N,); None for annotated objects.

    Raises:
        InputError: Shapes do not match, a frame or label is not a whole number, or a coordinate or score is
            not finite.

    Examples:
        >>> truth = Boxes([0, 0], [[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1])
    """

    frame: NDArray[Any]
    xyxy: NDArray[Any]
    label: NDArray[Any]
    score: NDArray[Any] | None = None

    def __init__(
        self, frame: ArrayLike, xyxy: ArrayLike, label: ArrayLike, score: ArrayLike | None = None
    ) -> None:
        columns = {"frame": _whole(frame, "frame"), "label": _whole(label, "label")}
        columns["xyxy"] = _real(xyxy, "xyxy").reshape(-1, 4) if np.size(xyxy) == 0 else _real(xyxy, "xyxy")
        if score is not None:
            columns["score"] = _real(score, "score")
        n = len(columns["frame"])
        for name, values in columns.items():
            shape = (n, 4) if name == "xyxy" else (n,)
            if values.shape != shape:
                raise InputError(f"{name}: expected shape {shape}, got {values.shape}")
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: NDArray[Any]) -> Boxes:
        """Return some of the boxes, chosen by row or by a mask."""
        score = None if self.score is None else self.score[rows]
        return Boxes(self.frame[rows], self.xyxy[rows], self.label[rows], score)

    def check(self, *, name: str, num_frames: int, num_classes: int) -> None:
        """Check that every frame and every label exists in a data set.

        Args:
            name: Name of the boxes, for messages.
            num_frames: Number of frames in the data set.
            num_classes: Number of classes in the data set.

        Raises:
            InputError: A frame or label is out of range.
        """
        for field, values, end in (("frame", self.frame, num_frames), ("label", self.label, num_classes)):
            wrong = (values < 0) | (values >= end)
            if wrong.any():
                row = int(wrong.argmax())
                raise InputError(
                    f"{name}, row {row}: expected {field} from 0 to {end - 1}, got {values[row]}"
                )


def _whole(values: ArrayLike, name: str) -> NDArray[Any]:
    column = np.asarray(values)
    if column.size == 0:
        return column.astype(np.int64)
    if not np.issubdtype(column.dtype, np.integer):
        raise InputError(f"{name}: expected whole numbers, got {column.dtype}")
    return column


def _real(values: ArrayLike, name: str) -> NDArray[Any]:
    column = np.asarray(values)
    if not np.issubdtype(column.dtype, np.floating):
        column = column.astype(np.float64)
    wrong = ~np.isfinite(column)
    if wrong.any():
        place = np.argwhere(wrong)[0]
        raise InputError(f"{name}, row {place[0]}: expected a finite number, got {column[tuple(place)]}")
    return column
