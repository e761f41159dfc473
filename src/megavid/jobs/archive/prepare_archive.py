"""Prepare an archive's output folder for a run."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from megavid.core.errors import InputError
from megavid.jobs.archive.archive_contents import remove_stale_results
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import FailRecord
from megavid.jobs.archive.manifest import VideoList
from megavid.jobs.archive.segments import ListedVideo, video_id
from megavid.jobs.archive.video_lists import VideoTable, record_list, recorded_videos

_MOST_SHARES = 100_000
"""Maximum number of runs that share an archive."""


@dataclass(frozen=True)
class PreparedArchive:
    """What a run over an archive begins with.

    Attributes:
        settings: Hash of the settings.
        stale: Number of segments whose results were removed, since their videos have changed.
    """

    settings: str
    stale: int


def prepare_archive(folder: ArchiveFolder, listed: VideoList, settings: Mapping[str, Any]) -> PreparedArchive:
    """Begin an archive or go on with it: record settings and videos, and remove results of changed videos.

    Args:
        folder: The archive's output folder.
        listed: The videos of the run, all those that other machines are given included. Videos that could not
            be listed are recorded as failed.
        settings: Everything that detections depend on, as JSON has it.

    Raises:
        InputError: The folder has results of other settings, or cannot be read or written.
    """
    digest = folder.begin(settings)
    recorded = {video.address for video in recorded_videos(folder.storage).videos}
    # A video that was listed before keeps its results: it may be out of reach for a while only.
    missing = [ListedVideo(address, -1, "") for address in listed.unreadable if address not in recorded]
    videos = [*listed.videos, *missing]
    rows = {address: row for row, address in enumerate(listed.columns["video"].to_pylist())}
    columns = listed.columns.take(pa.array([rows[video.address] for video in videos], pa.int64()))
    record_list(folder.storage, VideoTable(videos, columns.drop_columns("video")))
    for video in missing:
        folder.fail(video_id(video, digest), _unreadable(video, listed.unreadable[video.address]))
    return PreparedArchive(digest, remove_stale_results(folder))


def _unreadable(video: ListedVideo, reason: str) -> FailRecord:
    return FailRecord(
        video=video,
        first=0,
        last=None,
        cause="video",
        reason=reason,
        worker="",  # found before there were any
        attempts=1,
        finished=time.time(),
    )


def choose_share(videos: Sequence[ListedVideo], shard: str | None) -> list[ListedVideo]:
    """Return the videos of one of several runs that share an archive.

    From the largest video to the smallest, each goes to the run with the fewest bytes so far. All runs that
    are given the same videos divide them in the same way.

    Args:
        videos: All videos of the archive.
        shard: "I/N" for run I, from 0, of N; None for all videos.

    Raises:
        InputError: `shard` is something else.
    """
    if shard is None:
        return list(videos)
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count) <= _MOST_SHARES):
        raise InputError(
            f"--shard: expected I/N, the number of this run from 0 and the number of all runs, at most "
            f"{_MOST_SHARES}, got {shard!r}"
        )
    ordered = sorted(videos, key=lambda video: (-video.bytes, video.address))
    loads = [(0, i) for i in range(int(count))]
    shares: list[list[ListedVideo]] = [[] for _ in loads]
    for video in ordered:
        load, i = heapq.heappop(loads)
        shares[i].append(video)
        heapq.heappush(loads, (load + video.bytes, i))
    return shares[int(number)]
