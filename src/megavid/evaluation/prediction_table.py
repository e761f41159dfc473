"""Predictions of one or more videos in memory, as arrays with a row for each box.

Shapes: N boxes, V videos, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.table.problems import Kind, Problems


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predicted boxes of one or more videos.

    Attributes:
        videos: (V,) names of the videos, each once.
        video: int32 (N,), indexes into `videos`.
        frame: int64 (N,), number of the frame in its video.
        labels: int32 (N,), indexes into `class_names`.
        scores: float32 (N,), in [0, 1].
        boxes: float32 (N, 4), half-open x1 y1 x2 y2, in pixels of the original frame.
        class_names: (C,) names of the classes.
        lengths: Number of processed frames of each video, by name; None if the file does not say.
        origin: The file, for messages.
        metadata: Metadata of the file, as JSON values.
        tracks: int64 (N,), id of each box's track, -1 for none; None if the boxes were not tracked.
        class_scores: float32 (N, C), score of each box for each class, in [0, 1]; None if there are none, or
            if they were not read.
        interpolated: bool (N,), whether a box fills a gap between two detections of an object; None if no
            gaps were filled.
    """

    videos: tuple[str, ...]
    video: NDArray[np.int32]
    frame: NDArray[np.int64]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    class_names: tuple[str, ...]
    lengths: dict[str, int] | None
    origin: Path
    metadata: dict[str, Any] = field(default_factory=dict)
    tracks: NDArray[np.int64] | None = None
    class_scores: NDArray[np.float32] | None = None
    interpolated: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.video)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> PredictionTable:
        """Return some of the rows, chosen by number or by a mask."""
        return replace(
            self,
            video=self.video[rows],
            frame=self.frame[rows],
            labels=self.labels[rows],
            scores=self.scores[rows],
            boxes=self.boxes[rows],
            tracks=None if self.tracks is None else self.tracks[rows],
            class_scores=None if self.class_scores is None else self.class_scores[rows],
            interpolated=None if self.interpolated is None else self.interpolated[rows],
        )


def without_bad_rows(
    predictions: PredictionTable,
    problems: Problems,
    *,
    unit: str = "row",
    places: NDArray[np.int32] | None = None,
) -> PredictionTable:
    """Remove rows with impossible numbers, scores, classes or boxes, and rows that repeat an earlier one.

    Args:
        predictions: A table as read from a file.
        problems: Collects the invalid rows.
        unit: What the file has for each box, such as "row" or "line", for messages.
        places: (N,), number of each row's `unit` in the file; by default, the rows are numbered from 0.

    Raises:
        InputError: A row is invalid, and `problems` does not skip.
    """
    p = predictions
    bad = np.zeros(len(p), np.bool_)
    for check, kind, message in _CHECKS:
        wrong = check(p) & ~bad
        for row in np.flatnonzero(wrong).tolist():
            place = row if places is None else places[row]
            problems.add(kind, f"{p.origin}, {unit} {place}", f"{message}: {_describe(p, row)}")
        bad |= wrong
    return p.take(~bad) if bad.any() else p


def _describe(p: PredictionTable, row: int) -> str:
    box = ", ".join(f"{x:g}" for x in p.boxes[row])
    where = f"video {p.videos[p.video[row]]!r}, frame {p.frame[row]}"
    return f"{where}, label {p.labels[row]}, score {p.scores[row]:g}, box {box}"


def _is_not_finite(p: PredictionTable) -> NDArray[np.bool_]:
    wrong = ~np.isfinite(p.scores)
    for corner in p.boxes.T:
        wrong |= ~np.isfinite(corner)
    return wrong


def _has_no_valid_score(p: PredictionTable) -> NDArray[np.bool_]:
    return (p.scores < 0) | (p.scores > 1)


def _has_no_valid_label(p: PredictionTable) -> NDArray[np.bool_]:
    return (p.labels < 0) | (p.labels >= len(p.class_names))


def _has_no_valid_class_scores(p: PredictionTable) -> NDArray[np.bool_]:
    if p.class_scores is None:
        return np.zeros(len(p), np.bool_)
    wrong = ~((p.class_scores >= 0) & (p.class_scores <= 1))
    return cast("NDArray[np.bool_]", wrong.any(axis=1))


def _is_inverted(p: PredictionTable) -> NDArray[np.bool_]:
    return (p.boxes[:, 2] < p.boxes[:, 0]) | (p.boxes[:, 3] < p.boxes[:, 1])


def _repeats_earlier_row(p: PredictionTable) -> NDArray[np.bool_]:
    """Find rows that repeat an earlier one: find candidates by a hash, then compare them exactly."""
    columns = [np.ascontiguousarray(p.scores).view(np.int32), *np.ascontiguousarray(p.boxes).view(np.int32).T]
    columns += [p.video, *np.ascontiguousarray(p.frame, np.int64).view(np.int32).reshape(-1, 2).T, p.labels]
    key = np.zeros(len(p), np.uint64)
    for column in columns:
        key *= np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        key += column.view(np.uint32)
    ordered = np.sort(key)
    ordered = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    repeated = np.isin(key, ordered)
    rows = np.flatnonzero(repeated)
    same = np.stack([column[rows] for column in columns], axis=1)
    _, first = np.unique(same, axis=0, return_index=True)
    repeated[rows[first]] = False
    return repeated


_CHECKS: tuple[tuple[Callable[[PredictionTable], NDArray[np.bool_]], Kind, str], ...] = (
    (_is_not_finite, Kind.BAD_ROW, "expected finite numbers"),
    (_has_no_valid_score, Kind.BAD_ROW, "expected a score from 0 to 1"),
    (_has_no_valid_class_scores, Kind.BAD_ROW, "expected a score from 0 to 1 for each class"),
    (_has_no_valid_label, Kind.UNKNOWN_CLASS, "expected a label of one of the classes"),
    (_is_inverted, Kind.INVERTED, "expected x1 <= x2 and y1 <= y2"),
    (
        _repeats_earlier_row,
        Kind.DUPLICATE_BOX,
        "the same box of the same frame, class and score stands there before",
    ),
)
