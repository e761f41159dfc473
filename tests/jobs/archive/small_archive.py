"""A small archive for tests, written without a detector: three videos, one of them in two segments."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pyarrow as pa

from megavid.core.detections import FrameResult
from megavid.core.files.storage import Storage
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import DoneRecord, FailRecord
from megavid.jobs.archive.manifest import VideoList
from megavid.jobs.archive.prepare_archive import prepare_archive
from megavid.jobs.archive.segments import ListedVideo, Segment, split_video, video_id
from tests.evaluation.prediction_tables import CLASSES, frame_result

SEGMENT_FRAMES = 3

LONG = ListedVideo("/data/north/long.mp4", 500, "1")
SHORT = ListedVideo("/data/south/short.mp4", 100, "1")
BROKEN = ListedVideo("/data/south/broken.mp4", 50, "1")


def video_list(
    *videos: ListedVideo, unreadable: dict[str, str] | None = None, **further: list[object]
) -> VideoList:
    """Return a list of videos with further columns."""
    missing = unreadable or {}
    addresses = [*(video.address for video in videos), *missing]
    return VideoList(list(videos), missing, pa.table({"video": addresses, **further}))


class SmallArchive:
    """An archive whose segments a test commits.

    Args:
        path: A new local path: its output folder, unless it is remote.
        listed: Its videos.
        address: Its output folder, if it is remote.
    """

    def __init__(self, path: Path, listed: VideoList, *, address: str | None = None) -> None:
        self.path = path
        self.folder = ArchiveFolder(Storage.open(address or path))
        self.settings = prepare_archive(self.folder, listed, {"segment_frames": SEGMENT_FRAMES}).settings

    def segments(self, video: ListedVideo, length: int) -> list[str]:
        """Return the identifiers of a video's segments."""
        return [s.identifier(self.settings) for s in split_video(video, length, most=SEGMENT_FRAMES)]

    def count(self, video: ListedVideo, length: int) -> None:
        """Record the length of a long video."""
        self.folder.set_length(video_id(video, self.settings), length)

    def commit(
        self,
        segment: Segment,
        *results: FrameResult,
        seconds: float = 1.0,
        worker: str = "one",
        ended: float = 0.0,
    ) -> None:
        """Write the results of a segment of 96x64 frames."""
        part = self.path.parent / "part.parquet"
        writer = PredictionWriter(part, metadata={"weights": "x", "every": 1})
        address, objects = segment.video.address, Counter[str]()
        writer.set_size(address, width=96, height=64)
        for result in results:
            writer.write(address, result)
            objects.update(CLASSES[label] for label in result.detections.labels.tolist())
        writer.close(left_out=0)
        record = DoneRecord(
            video=segment.video,
            first=segment.first,
            last=segment.last,
            frames=len(results),
            detections=objects.total(),
            objects=dict(objects),
            seconds=seconds,
            worker=worker,
            attempt=0,
            finished=ended,
        )
        assert self.folder.commit(segment.identifier(self.settings), part, record)

    def fail(self, video: ListedVideo, reason: str) -> None:
        """Record that a video failed at the first attempt."""
        record = FailRecord(
            video=video,
            first=0,
            last=None,
            cause="video",
            reason=reason,
            worker="two",
            attempts=1,
            finished=time.time(),
        )
        self.folder.fail(video_id(video, self.settings), record)


def write_small_archive(path: Path, *, address: str | None = None) -> SmallArchive:
    """Write an archive: LONG (5 frames, 2 segments) and SHORT (2 frames) are done, and BROKEN failed."""
    listed = video_list(LONG, SHORT, BROKEN, camera=["a", "b", "b"])
    archive = SmallArchive(path, listed, address=address)
    archive.count(LONG, 5)
    first, second = split_video(LONG, 5, most=SEGMENT_FRAMES)
    cat, dog = (0, 0.9, 1, 2, 30, 40), (1, 0.25, 5, 6, 50, 60)
    archive.commit(second, frame_result(3), frame_result(4, dog), seconds=2.0, worker="two", ended=1010.0)
    archive.commit(first, frame_result(0, cat, dog), frame_result(1), frame_result(2, cat), ended=1005.0)
    archive.commit(Segment(SHORT, 0, None, 2), frame_result(0, cat), frame_result(1), ended=1006.0)
    archive.fail(BROKEN, "no video in it")
    return archive
