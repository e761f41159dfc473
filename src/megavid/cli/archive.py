"""`megavid archive`: detect in many videos, see how far it is, and export results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.archive_run import Run
from megavid.cli.arguments import refuse_overrides, split_names
from megavid.cli.options import FLAT, optional
from megavid.cli.output import cell, print_table, say
from megavid.core.errors import InputError

if TYPE_CHECKING:
    from megavid.jobs.archive.archive_folder import ArchiveFolder
    from megavid.jobs.archive.archive_status import ArchiveStatus

_MOST_ROWS = 20
"""Largest number of failures and of classes that `status` prints; --json and --table have all."""

ArchiveAddress = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]


@dataclass(frozen=True, kw_only=True)
class Status:
    """Show what is done, running, failed and left in an archive, from any machine that can read it."""

    archive: ArchiveAddress
    """Output folder of megavid archive run, on this machine or remote."""
    json: bool = False
    """Print all counts and failures as JSON."""
    table: Annotated[Path | None, optional("FILE")] = None
    """Table to write (.parquet, .csv), with a row for each video: state, frames, seconds, objects of each
    class, attempts, workers and error."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.jobs.archive.archive_status import read_status, write_table

        refuse_overrides(overrides, "archive status")
        status = read_status(_open(self.archive))
        if self.table is not None:
            write_table(status, self.table)
        if self.json:
            print(json.dumps(status.as_dict(), indent=1))
        else:
            _print_status(status)
        return 0


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the predictions of an archive's videos to one file, as megavid detect writes them for one video.

    Only videos that are done are exported. They are called by their paths within the folder that all videos
    of the archive are in.
    """

    archive: ArchiveAddress
    """Output folder of megavid archive run, on this machine or remote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]
    """Predictions to write (.parquet)."""
    videos: Annotated[str | None, optional("PATTERN,PATTERN", "all")] = None
    """Videos to export: names, paths or patterns such as "north/*.mp4", separated by commas."""
    where: Annotated[str | None, optional("COLUMN=VALUE,COLUMN=VALUE", "all")] = None
    """Export videos with these values in the list of videos that was given to megavid archive run."""
    score_threshold: Annotated[float | None, optional("FLOAT", "all")] = None
    """Export boxes with a score above this."""
    classes: Annotated[str | None, optional("NAME,NAME", "all")] = None
    """Classes to export, separated by commas."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.core.ranges import check_share
        from megavid.jobs.archive.export_archive import VideoChoice, export_archive
        from megavid.jobs.archive.join_parts import RowChoice

        refuse_overrides(overrides, "archive export")
        check_share("--score-threshold", self.score_threshold)
        videos = VideoChoice(
            patterns=split_names("--videos", self.videos) or (), where=split_values("--where", self.where)
        )
        rows = RowChoice(
            score_threshold=self.score_threshold, classes=split_names("--classes", self.classes) or ()
        )
        exported = export_archive(_open(self.archive), self.output, videos, rows)
        written = exported.written
        say(f"{self.output}: {written.videos} videos, {written.frames} frames, {written.boxes} boxes")
        if exported.unfinished:
            say(f"  without {exported.unfinished} videos that are not done")
        return 0


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Detect in many videos on one machine or a cluster, see how far it is, and export results."""

    command: Annotated[
        Annotated[Run, tyro.conf.subcommand("run")]
        | Annotated[Status, tyro.conf.subcommand("status")]
        | Annotated[Export, tyro.conf.subcommand("export")],
        FLAT,
    ]

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        return self.command.run(overrides)


def split_values(option: str, text: str | None) -> dict[str, str]:
    """Split a list such as "camera=north,day=3" into values by name.

    Raises:
        InputError: An entry is not of this form, or a name occurs twice.
    """
    values: dict[str, str] = {}
    for entry in split_names(option, text) or ():
        name, equals, value = entry.partition("=")
        if not name or not equals or name in values:
            raise InputError(f"{option}: expected COLUMN=VALUE, each column once, got {entry!r}")
        values[name] = value
    return values


def _open(address: str) -> ArchiveFolder:
    from megavid.core.files.storage import Storage
    from megavid.jobs.archive.archive_folder import ArchiveFolder

    return ArchiveFolder(Storage.open(address))


def _print_status(status: ArchiveStatus) -> None:
    from rich.table import Table

    about = status.as_dict()
    counts = about["videos"]
    say(
        f"{counts['all']} videos: {counts['done']} done, {counts['running']} running, "
        f"{counts['failed']} failed, {counts['left']} left"
    )
    say(f"{about['frames']} frames, {about['detections']} detections")
    if about["frames_per_worker_second"] is not None:
        say(
            f"{about['frames_per_worker_second']:g} frames/s for each worker, "
            f"{about['latest_frames_per_second']:g} frames/s in the last ten minutes of work"
        )
    if about["broken_records"]:
        say(f"  without {about['broken_records']} segments whose records are broken")
    if about["objects"]:
        table = Table("class")
        table.add_column("detections", justify="right")
        for name, count in list(about["objects"].items())[:_MOST_ROWS]:
            table.add_row(cell(name, limit=60), str(count))
        if len(about["objects"]) > _MOST_ROWS:
            table.add_row(f"{len(about['objects']) - _MOST_ROWS} more classes", "")
        print_table(table)
    for failure in about["failures"][:_MOST_ROWS]:
        reason = failure["reason"].removeprefix(f"{failure['video']}: ")
        say(f"failed: {failure['video']}: {reason} (attempts: {failure['attempts']})")
    if len(about["failures"]) > _MOST_ROWS:
        say(f"failed: {len(about['failures']) - _MOST_ROWS} more; --json and --table have all")
