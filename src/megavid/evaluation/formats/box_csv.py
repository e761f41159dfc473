"""Write predictions as CSV, with a row for each box."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from megavid.core.files.atomic import atomic_path
from megavid.datasets.table.annotations import NO_TRACK
from megavid.evaluation.predicted_annotations import PredictedAnnotations

COLUMNS = (
    "video",
    "frame",
    "time",
    "file",
    "class",
    "score",
    "x1",
    "y1",
    "x2",
    "y2",
    "track",
    "interpolated",
)
"""Names of the columns. Frames are numbered from 0; times are seconds; boxes are half-open, in pixels. Times,
files and tracks that are unknown are empty; `interpolated` is 1 for boxes that fill a gap, else 0."""


def write_box_csv(predicted: PredictedAnnotations, path: Path) -> None:
    """Write a CSV file with `COLUMNS` in its first line.

    Args:
        predicted: The predictions.
        path: The file to write; it appears whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    a = predicted.annotations
    frames = a.box_frames
    columns = (
        a.video[frames],
        a.number[frames],
        predicted.times,
        frames,
        a.labels,
        predicted.scores,
        a.boxes,
        a.tracks,
        a.generated,
    )
    files = a.files.to_pylist()
    with atomic_path(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for video, number, time, frame, label, score, box, track, generated in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            writer.writerow(
                (
                    a.videos[video],
                    number,
                    "" if np.isnan(time) else f"{time:.9g}",
                    files[frame] or "",
                    a.classes[label],
                    f"{score:.9g}",
                    *(f"{value:.9g}" for value in box),
                    "" if track == NO_TRACK else track,
                    int(generated),
                )
            )
