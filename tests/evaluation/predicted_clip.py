"""A predictions file of one video, with tracks, for tests of exports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from megavid.core.detections import Detections, FrameResult
from megavid.evaluation.formats.parquet_writer import PredictionWriter

CLASSES = ("cat", "dog")
WIDTH, HEIGHT, FRAMES = 64, 48, 8

ROWS = (
    # frame, label, track, score, x1, y1, x2, y2
    (0, 0, 3, 0.9, 1.0, 2.0, 11.0, 12.0),
    (1, 0, 3, 0.8, 2.0, 3.0, 12.5, 13.0),
    (1, 1, -1, 0.3, 30.0, 5.0, 40.0, 25.0),
    (3, 0, 3, 0.7, 4.0, 5.0, 14.0, 15.25),
    (5, 1, 7, 0.6, 20.0, 20.0, 36.0, 28.0),
    (6, 1, 7, 0.95, 21.0, 20.0, 37.0, 28.0),
    (7, 1, 7, 0.5, 22.0, 20.0, 38.0, 28.0),
)
"""Boxes of the video: track 3 misses frame 2, track 7 lasts to the last frame, and one box has no track."""

INTERPOLATED = 0.6
"""Score of the box that fills a gap."""

Row = tuple[int, int, int, float, float, float, float, float]


def write_clip(
    path: Path,
    *,
    video: str = "clip.mp4",
    rows: Sequence[Row] = ROWS,
    every: int = 1,
    size: bool = True,
    files: bool = False,
) -> Path:
    """Write the predictions of a video of `FRAMES` frames at 10 frames per second.

    Args:
        path: The file to write.
        video: Name of the video.
        rows: Boxes, as in `ROWS`.
        every: Distance of the frames that were processed.
        size: Whether the file has the size of the frames.
        files: Whether frames are images, called `img0.png` and so on.
    """
    writer = PredictionWriter(path, metadata={"every": every})
    add_clip(writer, video, rows=rows, every=every, size=size, files=files)
    writer.close()
    return path


def add_clip(
    writer: PredictionWriter,
    video: str,
    *,
    rows: Sequence[Row] = ROWS,
    every: int = 1,
    size: bool = True,
    files: bool = False,
) -> None:
    """Add a video to a predictions file; see `write_clip`."""
    if size:
        writer.set_size(video, width=WIDTH, height=HEIGHT)
    for frame in range(0, FRAMES, every):
        values = torch.tensor([row[1:] for row in rows if row[0] == frame]).reshape(-1, 7)
        found = Detections(
            values[:, 3:],
            values[:, 2],
            values[:, 0].long(),
            CLASSES,
            tracks=values[:, 1].long(),
            interpolated=values[:, 2] == INTERPOLATED,
        )
        result = FrameResult(frame, frame / 10, found)
        writer.write(video, result, file=f"img{frame}.png" if files else None)
