"""Turn predictions into a table of annotations, so that they can be written in formats of annotations.

Shapes: N predicted boxes, M boxes of the table, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.evaluation.formats.parquet_columns import FrameColumns
from megavid.evaluation.prediction_table import PredictionTable


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictedVideo:
    """A video with predictions.

    Attributes:
        name: Name of the video in the predictions.
        numbers: int64 (F,), numbers of the frames that the table gets, ascending; boxes in other frames are
            left out.
        files: (F,), image file of each frame, relative to the root of the table; None if there is none.
        source: The video file, relative to the root of the table; "" if there is none.
        size: Width and height of the frames in pixels; (0, 0) if unknown.
    """

    name: str
    numbers: NDArray[np.int64]
    files: Sequence[str | None]
    source: str
    size: tuple[int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictedAnnotations:
    """Predictions as a table of annotations.

    Attributes:
        annotations: The table. Boxes that fill a gap between two detections are `generated`.
        scores: float32 (M,), score of each box.
        times: float64 (M,), time of each box's frame in its video, seconds; NaN if unknown.
        without_area: Number of boxes that are left out because their width or height is 0.
        other_classes: Number of boxes that are left out because their track has the same box with a better
            score for another class.
    """

    annotations: Annotations
    scores: NDArray[np.float32]
    times: NDArray[np.float64]
    without_area: int
    other_classes: int


def as_annotations(
    predictions: PredictionTable,
    columns: FrameColumns,
    videos: Sequence[PredictedVideo],
    *,
    root: Path,
    classes: Sequence[str],
    score_threshold: float,
) -> PredictedAnnotations:
    """Turn predictions into annotations.

    Linkers give an object a box for each class that it may have, but an annotated object has one class. So if
    a track has several boxes in a frame, only the one with the best score is kept.

    Args:
        predictions: The predictions.
        columns: Other columns of the same N boxes.
        videos: The videos to keep, at least one, with their frames.
        root: The folder that the files of the videos are relative to.
        classes: Names of the classes to keep, in the order of their labels in the result.
        score_threshold: Least score of the boxes to keep.

    Raises:
        InputError: A track has boxes in different places of one frame.
    """
    p = predictions
    chosen = {name: label for label, name in enumerate(classes)}
    labels = np.array([chosen.get(name, -1) for name in p.class_names], np.int32)[p.labels]
    frame = _frame_rows(p, videos)
    kept = (frame >= 0) & (labels >= 0) & (p.scores >= score_threshold)
    has_area = (p.boxes[:, 2:] > p.boxes[:, :2]).all(axis=1)
    candidates = np.flatnonzero(kept & has_area)
    rows = _best_of_track(p, candidates)
    rows = rows[np.argsort(frame[rows], kind="stable")]
    no = np.zeros(len(rows), np.bool_)
    annotations = Annotations(
        classes=tuple(classes),
        category_ids=tuple(range(1, len(classes) + 1)),
        root=root,
        **_frame_table(videos, frame[rows]),
        boxes=p.boxes[rows],
        labels=labels[rows],
        tracks=np.full(len(rows), NO_TRACK, np.int64) if p.tracks is None else p.tracks[rows],
        occluded=no,
        generated=no if p.interpolated is None else p.interpolated[rows],
        difficult=no,
        crowds=no,
        areas=np.full(len(rows), np.nan, np.float32),
    )
    return PredictedAnnotations(
        annotations=annotations,
        scores=p.scores[rows],
        times=columns.times[rows],
        without_area=int((kept & ~has_area).sum()),
        other_classes=len(candidates) - len(rows),
    )


def _frame_table(videos: Sequence[PredictedVideo], frames: NDArray[np.int64]) -> dict[str, Any]:
    """Return the columns of videos and frames; `frames` has the row of each box's frame, ascending."""
    lengths = [len(video.numbers) for video in videos]
    f = sum(lengths)
    sizes = np.array([video.size for video in videos], np.int32).reshape(-1, 2).repeat(lengths, axis=0)
    return {
        "videos": tuple(video.name for video in videos),
        "sources": tuple(video.source for video in videos),
        "video": np.arange(len(videos), dtype=np.int32).repeat(lengths),
        "number": np.concatenate([video.numbers for video in videos]),
        "files": pa.array([file for video in videos for file in video.files], pa.string()),
        "width": sizes[:, 0].copy(),
        "height": sizes[:, 1].copy(),
        "listed": np.ones(f, np.bool_),
        "image_ids": np.arange(1, f + 1),
        "offsets": np.concatenate(([0], np.bincount(frames, minlength=f).cumsum())),
    }


def _frame_rows(p: PredictionTable, videos: Sequence[PredictedVideo]) -> NDArray[np.int64]:
    """Return the row of each box's frame in the result; -1 for frames and videos that are not kept."""
    rows = np.full(len(p), -1)
    codes = {name: code for code, name in enumerate(p.videos)}
    first = 0
    for video in videos:
        boxes = np.flatnonzero(p.video == codes.get(video.name, -1))
        place = np.searchsorted(video.numbers, p.frame[boxes])
        inside = place < len(video.numbers)
        inside[inside] = video.numbers[place[inside]] == p.frame[boxes[inside]]
        rows[boxes[inside]] = first + place[inside]
        first += len(video.numbers)
    return rows


def _best_of_track(p: PredictionTable, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Select from `rows` the best box of each track in each frame, and boxes without a track; ascending."""
    if p.tracks is None:
        return rows
    tracked = rows[p.tracks[rows] != NO_TRACK]
    keys = (p.tracks[tracked], p.frame[tracked], p.video[tracked])
    tracked = tracked[np.lexsort((-p.scores[tracked], *keys))]
    before, after = tracked[:-1], tracked[1:]
    again = np.ones(len(after), np.bool_)
    for column in (p.tracks, p.frame, p.video):
        again &= column[before] == column[after]
    moved = after[again & (p.boxes[before] != p.boxes[after]).any(axis=1)]
    if len(moved):
        row = int(moved[0])
        raise InputError(
            f"{p.origin}: expected one box of each track in a frame, got several of track {p.tracks[row]} in "
            f"video {p.videos[p.video[row]]!r}, frame {p.frame[row]}"
        )
    return np.setdiff1d(rows, after[again])
