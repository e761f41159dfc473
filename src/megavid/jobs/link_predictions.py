"""Link saved predictions over time, without running a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megavid.core.detections import Detections, FrameResult
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path, check_target
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_metadata import check_not_linked
from megavid.evaluation.formats.parquet_schema import check_suffix, read_metadata
from megavid.evaluation.formats.parquet_videos import VideoPredictions, read_videos
from megavid.evaluation.formats.parquet_writer import RowWriter, frame_rows
from megavid.evaluation.formats.video_info import frame_numbers
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


def _detections(table: PredictionTable, rows: slice) -> Detections:
    """Return rows of a table as detections, without tracks, since a linker gives its own."""
    return Detections(
        boxes=torch.from_numpy(table.boxes[rows]),
        scores=torch.from_numpy(table.scores[rows]),
        labels=torch.from_numpy(table.labels[rows].astype(np.int64)),
        class_names=table.class_names,
        class_scores=None if table.class_scores is None else torch.from_numpy(table.class_scores[rows]),
    )
