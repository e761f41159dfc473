"""What is done, running, failed and left in an archive, from its output folder alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import MADE_BY
from megavid.evaluation.formats.parquet_schema import METADATA_KEY
from megavid.jobs.archive.archive_contents import STATES, ArchivedVideo, State, read_contents
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import DoneRecord, FailRecord

_LATELY = 600.0
"""Seconds before the end of the latest segment over which the speed is measured."""


@dataclass(eq=False)
class VideoStatus:
    """What is known of a video.

    Attributes:
        video: The video.
        frames: Number of frames that are done.
        detections: Number of boxes in them.
        seconds: Time that workers took.
        attempts: Number of attempts at its segments.
        workers: Names of the workers that did or tried them.
        objects: Number of boxes of each class.
        error: Reason why it failed; None if it has not failed.
    """

    video: ArchivedVideo
    frames: int = 0
    detections: int = 0
    seconds: float = 0.0
    attempts: int = 0
    workers: set[str] = field(default_factory=set)
    objects: Counter[str] = field(default_factory=Counter)
    error: str | None = None

    def add(self, record: DoneRecord) -> None:
        """Add a segment that is done."""
        self.frames += record.frames
        self.detections += record.detections
        self.seconds += record.seconds
        self.attempts += record.attempt + 1
        self.workers.add(record.worker)
        self.objects.update(record.objects)

    def add_failure(self, record: FailRecord) -> None:
        """Add a segment that failed."""
        self.attempts += record.attempts
        self.workers.add(record.worker)
        self.error = self.error or record.reason


@dataclass(frozen=True, eq=False)
class ArchiveStatus:
    """What is done in an archive.

    Attributes:
        videos: The videos, in the order in which they were listed.
        columns: Further columns of the users' lists, a row for each video.
        broken_records: Number of segments whose records are broken, so that their frames are not counted.
        latest_speed: Frames per second of all workers, over the last ten minutes of work; None if nothing is
            done.
    """

    videos: list[VideoStatus]
    columns: pa.Table
    broken_records: int
    latest_speed: float | None

    @property
    def states(self) -> dict[State, int]:
        """Number of videos in each state."""
        counts = Counter(status.video.state for status in self.videos)
        return {state: counts[state] for state in STATES}

    @property
    def objects(self) -> dict[str, int]:
        """Number of boxes of each class, the most frequent class first."""
        total: Counter[str] = Counter()
        for status in self.videos:
            total.update(status.objects)
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

    def as_dict(self) -> dict[str, Any]:
        """Return all counts and the failures as JSON values."""
        frames, seconds = (sum(getattr(v, name) for v in self.videos) for name in ("frames", "seconds"))
        segments = {
            "done": sum(len(status.video.done) for status in self.videos),
            "failed": sum(len(status.video.failed) for status in self.videos),
            "known": sum(len(status.video.segments) for status in self.videos),
        }
        return {
            **MADE_BY,
            "videos": {"all": len(self.videos), **self.states},
            "segments": segments,
            "frames": frames,
            "detections": sum(status.detections for status in self.videos),
            "objects": self.objects,
            "worker_seconds": round(seconds, 3),
            "frames_per_worker_second": round(frames / seconds, 3) if seconds else None,
            "latest_frames_per_second": self.latest_speed,
            "broken_records": self.broken_records,
            "failures": [
                {"video": status.video.video.address, "reason": status.error, "attempts": status.attempts}
                for status in self.videos
                if status.error is not None
            ],
        }


def read_status(folder: ArchiveFolder) -> ArchiveStatus:
    """Read what is done in an archive; it may be at work meanwhile.

    Args:
        folder: The archive's output folder.

    Raises:
        InputError: It is none, or cannot be read.
    """
    contents = read_contents(folder)
    statuses = [VideoStatus(video) for video in contents.videos]
    places = {
        segment: status for status in statuses for segment in (*status.video.done, *status.video.failed)
    }
    times, broken = [], 0
    for segment, record in folder.records(s for video in contents.videos for s in video.done):
        if isinstance(record, InputError):
            broken += 1
        else:
            places[segment].add(record)
            times.append((record.finished, record.seconds, record.frames))
    for segment, failure in contents.failures.items():
        if segment in places:
            places[segment].add_failure(failure)
    return ArchiveStatus(statuses, contents.columns, broken, _latest_speed(times))


def _latest_speed(times: list[tuple[float, float, int]]) -> float | None:
    """Return the frames per second at the end, from the end, the duration and the frames of each segment."""
    if not times:
        return None
    finished, seconds, frames = np.array(times, np.float64).T
    began, seconds = finished - seconds, np.maximum(seconds, 1e-9)
    latest = finished.max()
    start = max(latest - _LATELY, began.min())
    share = np.clip((finished - np.maximum(began, start)) / seconds, 0, 1)
    return round(float((share * frames).sum() / max(latest - start, 1e-9)), 3)


def write_table(status: ArchiveStatus, path: Path) -> None:
    """Write a table with a row for each video.

    Its columns are `video` (address), `name`, `state`, `frames`, `seconds` (of workers), `detections`,
    `attempts`, `workers`, `error`, `objects_CLASS` for each class that was found, and the further columns of
    the list of videos; `list_NAME` if the table has another column NAME.

    Args:
        status: What is done.
        path: The file to write, whose suffix is .parquet or .csv; it appears whole or not at all.

    Raises:
        InputError: The suffix is another one, or the file cannot be written.
    """
    if path.suffix not in {".parquet", ".csv"}:
        raise InputError(f"{path}: expected a name that ends in .parquet or .csv")
    table = _as_table(status)
    with atomic_path(path) as aside:
        if path.suffix == ".csv":
            csv.write_csv(table, aside)
        else:
            mark = {METADATA_KEY: json.dumps({"table": "videos of an archive"})}
            pq.write_table(table.replace_schema_metadata(mark), aside)


def _as_table(status: ArchiveStatus) -> pa.Table:
    videos = status.videos
    columns: dict[str, Any] = {
        "video": pa.array([v.video.video.address for v in videos], pa.string()),
        "name": pa.array([v.video.name for v in videos], pa.string()),
        "state": pa.array([v.video.state for v in videos], pa.string()),
        "frames": pa.array([v.frames for v in videos], pa.int64()),
        "seconds": pa.array([v.seconds for v in videos], pa.float64()),
        "detections": pa.array([v.detections for v in videos], pa.int64()),
        "attempts": pa.array([v.attempts for v in videos], pa.int64()),
        "workers": pa.array([", ".join(sorted(v.workers - {""})) for v in videos], pa.string()),
        "error": pa.array([v.error for v in videos], pa.string()),
    }
    for name in status.objects:
        columns[f"objects_{name}"] = pa.array([v.objects[name] for v in videos], pa.int64())
    for name in status.columns.column_names:
        columns[f"list_{name}" if name in columns else name] = status.columns[name]
    return pa.table(columns)
