"""Link saved predictions over time, without running a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megavid.core.detections import Detections, FrameResult
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path, check_target
from megavid.datasets.formats.limits import MOST_FRAMES
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_metadata import check_not_linked
from megavid.evaluation.formats.parquet_schema import check_suffix, read_metadata
from megavid.evaluation.formats.parquet_videos import VideoPredictions, read_videos
from megavid.evaluation.formats.parquet_writer import RowWriter, frame_rows
from megavid.evaluation.formats.video_info import read_video_info
from megavid.evaluation.prediction_table import PredictionTable
from megavid.jobs.progress import progress
from megavid.linking.linker_config import LinkerConfig


@dataclass(frozen=True, kw_only=True)
class LinkSummary:
    """Summary of linking.

    Attributes:
        before: Number of boxes read.
        after: Number of boxes written.
        interpolated: Number of boxes written that fill gaps.
        tracks: Number of tracks.
    """

    before: int
    after: int
    interpolated: int
    tracks: int


def link_predictions(source: Path, target: Path, config: LinkerConfig) -> LinkSummary:
    """Apply a linker to each video of a predictions file, with one video in memory at a time.

    Args:
        source: The predictions file (.parquet).
        target: The file to write (.parquet); it appears whole or not at all.
        config: The linker.

    Raises:
        InputError: `source` is missing, broken, not a predictions file or already linked; the linker cannot
            read a file that a setting names; or `target` cannot be written.
    """
    about = _check_files(source, target)
    config.start()  # reads what a setting names, so that a mistake is found even if there are no boxes
    before = after = interpolated = tracks = 0
    with atomic_path(target) as aside, progress(f"linking {source.name}", unit="boxes") as meter:
        rows = RowWriter(aside)
        for video in read_videos(source, problems=Problems()):
            ids: set[int] = set()
            for result in config.start()(_frame_results(video)):
                found = result.detections
                if len(found):
                    rows.write(frame_rows(video.name, result, file=video.files.get(result.index)))
                after += len(found)
                interpolated += 0 if found.interpolated is None else int(found.interpolated.sum())
                ids.update([] if found.tracks is None else found.tracks.tolist())
            before += len(video.table)
            tracks += len(ids)
            meter.update(before)
        rows.close({**about, "linking": config.model_dump(mode="json")})
    return LinkSummary(before=before, after=after, interpolated=interpolated, tracks=tracks)


def _check_files(source: Path, target: Path) -> dict[str, Any]:
    """Check the files before any work is done, and return the metadata of the predictions."""
    check_suffix(source)
    if target.suffix != ".parquet":
        raise InputError(f"{target}: expected a name that ends in .parquet")
    with suppress(OSError):  # raised if one of the files does not exist
        if target.samefile(source):
            raise InputError(f"{target}: is the input; choose another name for the output")
    about = read_metadata(source)
    check_not_linked(about, origin=source)
    check_target(target)
    return about


def _frame_results(video: VideoPredictions) -> Iterator[FrameResult]:
    """Yield the results of all frames of a video, also of those without boxes."""
    table = video.table
    order = np.argsort(table.frame, kind="stable")
    rows = table.take(order)
    frames = frame_numbers(table, video.name)
    known = sorted(video.times)
    times = np.interp(frames, known, [video.times[frame] for frame in known]) if known else None
    starts = np.searchsorted(rows.frame, frames, side="left")
    ends = np.searchsorted(rows.frame, frames, side="right")
    for i, (frame, start, end) in enumerate(zip(frames.tolist(), starts, ends, strict=True)):
        time = float("nan") if times is None else float(times[i])
        yield FrameResult(frame, time, _detections(rows, slice(start, end)))


def frame_numbers(table: PredictionTable, video: str) -> NDArray[np.int64]:
    """Return the numbers of the frames that the detector processed in a video, as far as they are known.

    The table lacks frames without boxes, but the metadata records all frames. Files of early versions lack
    this record, and a record that lacks a frame with boxes is not used. The frames are then taken to be those
    from 0 in steps of `every`, as many as were processed. If boxes are in other frames, as in a data set that
    numbers frames from 1, they are taken to be those from the first to the last frame with boxes. If this
    gives more frames than were processed, or than any video has, it is unknown which ones were, and only the
    frames with boxes are returned.

    Args:
        table: Predictions of the video, one or more rows.
        video: Name of the video.

    Returns:
        int64 (F,), ascending.

    Raises:
        InputError: The recorded frame numbers are invalid.
    """
    recorded = read_video_info(table.metadata, video, origin=table.origin).frames
    with_boxes = np.unique(table.frame)
    if recorded is not None and np.isin(with_boxes, recorded).all():
        return recorded
    every = int(table.metadata.get("every", 1))
    length = None if table.lengths is None else table.lengths.get(video)
    first, last = int(with_boxes[0]), int(with_boxes[-1])
    most = MOST_FRAMES if length is None else min(length, MOST_FRAMES)
    for start, end in ((0, last + 1 if length is None else every * length), (first, last + 1)):
        numbers = range(start, end, every)  # a wrong number may make it too long for memory
        if len(numbers) <= most and all(frame in numbers for frame in with_boxes.tolist()):
            return np.arange(start, end, every, dtype=np.int64)
    return with_boxes


def _detections(table: PredictionTable, rows: slice) -> Detections:
    """Return rows of a table as detections, without tracks, since a linker gives its own."""
    return Detections(
        boxes=torch.from_numpy(table.boxes[rows]),
        scores=torch.from_numpy(table.scores[rows]),
        labels=torch.from_numpy(table.labels[rows].astype(np.int64)),
        class_names=table.class_names,
        class_scores=None if table.class_scores is None else torch.from_numpy(table.class_scores[rows]),
    )
