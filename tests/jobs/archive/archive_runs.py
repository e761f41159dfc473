"""Run archives in tests: videos, the workers' settings, an engine without processes, and what came out."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from megavid.core.files.storage import Storage
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.driver import ArchiveSummary, run_archive
from megavid.jobs.archive.manifest import list_videos
from megavid.jobs.archive.segments import ListedVideo
from megavid.jobs.archive.worker import SegmentWorker
from megavid.jobs.archive.worker_spec import DetectorArguments, SegmentOptions, WorkerSpec
from megavid.jobs.executors.engine import Engine, Event, Task
from megavid.jobs.executors.local_engine import LocalEngine
from tests.cli.helpers import write_video
from tests.video.videos import picture

SLOW_MODULE = "tests.jobs.archive.slow_method"

Row = tuple[Any, ...]


def write_videos(folder: Path, lengths: Sequence[int]) -> list[Path]:
    """Write videos of 64x96 pixels, number i of `lengths[i]` frames."""
    folder.mkdir()
    return [
        write_video(folder / f"{number}.mp4", [picture(i + 5 * number, 96, 64) for i in range(length)])
        for number, length in enumerate(lengths)
    ]


def write_black(path: Path) -> Path:
    """Write a video that kills the process of the slow detector."""
    return write_video(path, [np.zeros((64, 96, 3), np.uint8)] * 3)


def slow(seconds: float, folder: Path) -> DetectorArguments:
    """Return the slow detector, which takes some seconds for a frame; its configuration goes to a folder."""
    config = folder / "slow.yaml"
    config.write_text(f"classes: [thing]\nmethod: {{name: slow, seconds: {seconds}}}\n")
    return DetectorArguments(model=str(config), method_module=SLOW_MODULE)


def make_spec(
    out: Path, detector: DetectorArguments, *, segment_frames: int = 10, **options: Any
) -> WorkerSpec:
    """Begin or continue an archive in a folder, and return what its workers have to know."""
    settings = ArchiveFolder(Storage.open(out)).begin({"segment_frames": segment_frames, **options})
    return WorkerSpec(
        detector=detector,
        options=SegmentOptions(**options),
        output=str(out),
        settings=settings,
        segment_frames=segment_frames,
        cache=out.parent / "cache",
        cache_bytes=1 << 30,
        device="cpu",
        threads=1,
    )


class InlineEngine:
    """Runs tasks in this process, when their events are asked for."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.worker = SegmentWorker(spec, "inline")
        self.ran: list[Task] = []
        self.waiting: deque[Task] = deque()

    @property
    def workers(self) -> list[str]:
        return ["inline"]

    @property
    def free(self) -> int:
        return 2 - len(self.waiting)

    def submit(self, task: Task) -> None:
        self.waiting.append(task)

    def next_event(self, timeout: float) -> Event | None:
        if not self.waiting:
            return None
        self.ran.append(self.waiting[0])
        return self.worker.run(self.waiting.popleft())

    def close(self, *, drain: bool) -> None:
        self.waiting.clear()
        self.worker.close()


def run(
    spec: WorkerSpec, videos: Path | list[ListedVideo], engine: Engine | None = None, **options: Any
) -> ArchiveSummary:
    """Run an archive, by default on two processes of this machine."""
    listed = list_videos(str(videos)).videos if isinstance(videos, Path) else videos
    return run_archive(
        listed,
        ArchiveFolder(Storage.open(spec.output)),
        LocalEngine(spec, workers=2) if engine is None else engine,
        settings=spec.settings,
        segment_frames=spec.segment_frames,
        **options,
    )


def rows_of(out: Path) -> list[Row]:
    """Return the rows of all parts that are done: name of the video, and all other columns."""
    rows: list[Row] = []
    for done in (out / "done").glob("*/*.json"):
        part = out / "parts" / done.parent.name / f"{done.stem}.parquet"
        columns = pq.read_table(part).to_pylist()
        rows += [(os.path.basename(row.pop("video")), *row.values()) for row in columns]  # noqa: PTH119
    return sorted(rows, key=str)


def drive(out: Path, detector: DetectorArguments, videos: Path) -> None:
    """Run an archive as a process of its own, and exit as the command does."""
    sys.exit(run(make_spec(out, detector), videos).exit_code)
