"""What an archive has of each of its videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import pyarrow as pa

from megavid.core.errors import InputError
from megavid.jobs.archive.archive_folder import SETTINGS, ArchiveFolder
from megavid.jobs.archive.archive_records import FailRecord
from megavid.jobs.archive.segments import ListedVideo
from megavid.jobs.archive.video_lists import VideoTable, recorded_videos
from megavid.jobs.archive.work_queue import Progress

State = Literal["done", "running", "failed", "left"]
STATES: tuple[State, ...] = ("done", "running", "failed", "left")


@dataclass(frozen=True, eq=False)
class ArchivedVideo:
    """A video of an archive.

    Attributes:
        name: Path of the video within the folder that all videos of the archive are in.
        video: The video.
        segments: Identifiers of its segments, in the order of frames. A video whose frames are not counted
            has one.
        done: Those that are done.
        failed: Those that failed and are not done.
    """

    name: str
    video: ListedVideo
    segments: Sequence[str]
    done: Sequence[str]
    failed: Sequence[str]

    @property
    def state(self) -> State:
        """`done` if all segments are, `failed` if one failed, `running` if some are done, else `left`."""
        if self.failed:
            return "failed"
        if len(self.done) == len(self.segments):
            return "done"
        return "running" if self.done else "left"


@dataclass(frozen=True, eq=False)
class ArchiveContents:
    """The videos of an archive.

    Attributes:
        videos: The videos, in the order in which they were listed.
        failures: What is known of the segments that failed.
        columns: Further columns of the users' lists, a row for each video.
    """

    videos: Sequence[ArchivedVideo]
    failures: dict[str, FailRecord]
    columns: pa.Table


def read_contents(folder: ArchiveFolder) -> ArchiveContents:
    """Read what an archive has of each video; the files of segments are only listed, not read.

    Args:
        folder: The archive's output folder.

    Raises:
        InputError: It is none, or cannot be read.
    """
    done, failures, table, progress = _read(folder)
    videos = []
    for name, video in zip(table.names, table.videos, strict=True):
        segments = [segment.identifier(progress.settings) for segment in progress.segments(video)]
        finished = [segment for segment in segments if segment in done]
        failed = [segment for segment in segments if segment in failures and segment not in done]
        videos.append(ArchivedVideo(name, video, segments, finished, failed))
    return ArchiveContents(videos, failures, table.columns)


def remove_stale_results(folder: ArchiveFolder) -> int:
    """Remove what was done of videos that have changed since.

    Call this after `record_list` and before work begins: what remains is of the videos as they are, so that
    whoever reads all parts does not read a video twice.

    Args:
        folder: The archive's output folder, in which the run began.

    Returns:
        Number of segments removed.

    Raises:
        InputError: The folder cannot be read or written.
    """
    done, failures, table, progress = _read(folder)
    segments = chain.from_iterable(map(progress.segments, table.videos))
    current = {segment.identifier(progress.settings) for segment in segments}
    versions = {video.address: video for video in table.videos}
    others = [*folder.records(done - current), *((id_, failures[id_]) for id_ in failures.keys() - current)]
    # What no list has is kept: the lists, not the results, may be lost.
    stale = [
        identifier
        for identifier, record in others
        if not isinstance(record, InputError)
        and versions.get(record.video.address, record.video) != record.video
    ]
    for identifier in stale:
        folder.remove(identifier)
    return len(stale)


def _read(folder: ArchiveFolder) -> tuple[set[str], dict[str, FailRecord], VideoTable, Progress]:
    """Read what is done before the lists: a list is written before anything in it is done."""
    segment_frames = folder.settings().get("segment_frames")
    if not isinstance(segment_frames, int) or segment_frames < 1:
        raise InputError(f"{folder.storage.address_of(SETTINGS)}: expected segment_frames of at least 1")
    done, failures = folder.done_ids(), folder.failures()
    table = recorded_videos(folder.storage)
    progress = Progress(
        settings=folder.settings_hash(),
        segment_frames=segment_frames,
        done=done,
        failed=failures,
        lengths=folder.lengths(),
    )
    return done, failures, table, progress
