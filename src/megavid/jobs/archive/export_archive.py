"""Export videos of an archive as one predictions file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from megavid.core.errors import InputError
from megavid.core.text import listed
from megavid.jobs.archive.archive_contents import ArchiveContents, ArchivedVideo, read_contents
from megavid.jobs.archive.archive_folder import ArchiveFolder, part_name
from megavid.jobs.archive.join_parts import JoinedCounts, RowChoice, join_parts


@dataclass(frozen=True, kw_only=True)
class VideoChoice:
    """Videos to export.

    Attributes:
        patterns: Patterns such as "north/*.mp4"; a video is chosen if one of them fits its address, its path
            within the folder of all videos or its file name. Empty for all videos.
        where: Values that further columns of the list of videos must have, as text, by column.
    """

    patterns: Sequence[str] = ()
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportedArchive:
    """What was exported.

    Attributes:
        written: What the file has.
        unfinished: Number of chosen videos that were left out, since they are not done.
    """

    written: JoinedCounts
    unfinished: int


def export_archive(
    folder: ArchiveFolder, path: Path, videos: VideoChoice, rows: RowChoice
) -> ExportedArchive:
    """Write the predictions of videos that are done, as `megavid detect` writes them for one video.

    Videos are called by their paths within the folder that all videos of the archive are in.

    Args:
        folder: The archive's output folder.
        path: The file to write (.parquet); it appears whole or not at all.
        videos: Videos to export.
        rows: Boxes to export.

    Raises:
        InputError: The folder is no archive or cannot be read, no video is chosen or done, a pattern, column
            or class is unknown, or the file cannot be written.
    """
    if path.suffix != ".parquet":
        raise InputError(f"{path}: expected a name that ends in .parquet")
    contents = read_contents(folder)
    chosen = _choose(contents, videos, folder.storage.address)
    done = [video for video in chosen if video.state == "done"]
    if not done:
        raise InputError(f"{folder.storage.address}: expected videos that are done, got none")
    parts = ((video.name, [part_name(segment) for segment in video.segments]) for video in done)
    written = join_parts(parts, folder.storage.read, path, choice=rows)
    return ExportedArchive(written, len(chosen) - len(done))


def _choose(contents: ArchiveContents, choice: VideoChoice, origin: str) -> list[ArchivedVideo]:
    chosen = [(row, video) for row, video in enumerate(contents.videos)]
    for column, value in choice.where.items():
        if column not in contents.columns.column_names:
            names = listed(contents.columns.column_names) or "none"
            raise InputError(f"--where: expected a column of the list of videos ({names}), got {column!r}")
        values = contents.columns[column].to_pylist()
        chosen = [(row, video) for row, video in chosen if str(values[row]) == value]
    if choice.patterns:
        fitting = {pattern: [v for _, v in chosen if _fits(v, pattern)] for pattern in choice.patterns}
        for pattern, found in fitting.items():
            if not found:
                raise InputError(f"--videos: {pattern!r} fits none of the videos of {origin}")
        kept = {id(video) for found in fitting.values() for video in found}
        chosen = [(row, video) for row, video in chosen if id(video) in kept]
    if not chosen:
        raise InputError(f"{origin}: expected videos to export, but none is chosen")
    return [video for _, video in chosen]


def _fits(video: ArchivedVideo, pattern: str) -> bool:
    names = (video.video.address, video.name, PurePosixPath(video.name).name)
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)
