"""Write boxes as CSV, with a row for each box and each frame without boxes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megavid.core.files.atomic import atomic_path
from megavid.datasets.table.annotations import NO_TRACK, Annotations

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
files, scores and tracks that are unknown are empty; `interpolated` is 1 for boxes that a program made from
other boxes, else 0."""


def write_box_csv(
    annotations: Annotations,
    path: Path,
    *,
    scores: NDArray[np.float32] | None = None,
    times: NDArray[np.float64] | None = None,
) -> None:
    """Write a CSV file with `COLUMNS` in its first line.

    A frame without boxes has one row, in which only the video, the frame and the file have values. Such a row
    is left out if the video's frames are images and the name of this one is unknown, since nobody could find
    the image. Difficult objects and crowds are written like other objects, since the format cannot mark them.

    Args:
        annotations: The data set.
        path: The file to write; it appears whole or not at all.
        scores: (M,), scores of the boxes if they are predictions.
        times: (M,), time of each box's frame in its video, seconds; NaN if unknown.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_rows(annotations, scores, times))


def _rows(
    a: Annotations, scores: NDArray[np.float32] | None, times: NDArray[np.float64] | None
) -> Iterator[tuple[object, ...]]:
    files = a.files.to_pylist()
    named = {video for video, file in zip(a.video.tolist(), files, strict=True) if file is not None}
    offsets = a.offsets.tolist()
    for frame, (video, number, file) in enumerate(
        zip(a.video.tolist(), a.number.tolist(), files, strict=True)
    ):
        name, rows = a.videos[video], range(offsets[frame], offsets[frame + 1])
        if not rows and (file is not None or video not in named):
            yield (name, number, "", file or "", "", "", "", "", "", "", "", "")
        for row in rows:
            time = float("nan") if times is None else float(times[row])
            track = int(a.tracks[row])
            yield (
                name,
                number,
                "" if np.isnan(time) else f"{time:.9g}",
                file or "",
                a.classes[a.labels[row]],
                "" if scores is None else f"{scores[row]:.9g}",
                *(f"{value:.9g}" for value in a.boxes[row].tolist()),
                "" if track == NO_TRACK else track,
                int(a.generated[row]),
            )
