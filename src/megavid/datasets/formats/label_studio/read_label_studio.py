"""Read Label Studio's export "JSON" of videos, in which each object is a region with keyframes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from heapq import merge
from operator import itemgetter
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.text import listed
from megavid.datasets.formats.class_names import check_class_count
from megavid.datasets.formats.label_studio.label_studio_regions import (
    Keyframe,
    Region,
    count_filled,
    fill_region,
)
from megavid.datasets.formats.label_studio.label_studio_tasks import Task, read_tasks
from megavid.datasets.formats.label_studio.label_studio_videos import find_video
from megavid.datasets.formats.limits import MOST_FRAMES
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import BadRowError, Kind, Problems

MOST_FILLED = 10_000_000
"""Largest number of boxes to interpolate, which take a gigabyte."""

_LARGEST_ROUNDING = 0.999
"""Largest number of frames by which rounding changes their number."""

_HEAD = 4096
"""Number of bytes at the start of a file that are searched for its first character."""


def is_label_studio(path: Path) -> bool:
    """Return whether a path is a JSON file with a list; other formats of annotations in JSON are objects."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    except OSError:
        return False


def read_label_studio(
    path: Path, *, images: Path | None = None, classes: Sequence[str] | None = None, problems: Problems
) -> Annotations:
    """Read an export. Each task is a video file, and each region a track.

    `label_studio_tasks.read_tasks` says which labels of a task are read, and `label_studio_regions` how boxes
    are interpolated. Interpolated boxes are `generated`. All frames of a video file are labeled, those
    without boxes, too, unless the task has the key `megavid_frames` in its data, which
    `write_label_studio` writes.

    Args:
        path: The JSON file.
        images: Folder that contains the video files; by default, the folder of the JSON file.
        classes: Names of the classes to read, in the order of their labels; None for all, in the order in
            which the file first uses them.
        problems: Collects invalid tasks and regions, regions whose class is not read, and missing videos.

    Raises:
        InputError: The file is missing, broken or of another kind; or see `problems`.
    """
    tasks = read_tasks(path, problems)
    names = classes or dict.fromkeys(region.label for task in tasks for region in task.regions)
    check_class_count(len(names), origin=path)
    root = (images or path.parent).absolute()
    reader = _Reader(path, AnnotationBuilder(tuple(names), root=root), problems)
    for task in tasks:
        try:
            reader.read(task)
        except BadRowError as error:
            problems.add(error.kind, task.where, str(error))
    return reader.builder.build()


class _Reader:
    """Reads tasks into a table."""

    def __init__(self, path: Path, builder: AnnotationBuilder, problems: Problems) -> None:
        self.builder, self._path, self._problems = builder, path, problems
        self._labels = {name: label for label, name in enumerate(builder.classes)}
        self._seen: dict[str, str] = {}
        self._frames = self._filled = 0

    def read(self, task: Task) -> None:
        """Add a video to the table.

        Raises:
            BadRowError: The video cannot be found or read, belongs to two tasks, or was labeled at
                another frame rate.
        """
        from megavid.video.video_file import VideoFile  # noqa: PLC0415 - others need no video decoder

        source = find_video(self.builder.root, task.address)
        if source in self._seen:
            raise BadRowError(f"is of {source}, as {self._seen[source]}: expected one task for each video")
        self._seen[source] = task.where
        try:
            with closing(VideoFile(self.builder.root / source)) as video:
                size, length, rate = (video.width, video.height), len(video), float(video.rate)
        except InputError as error:
            raise BadRowError(str(error), Kind.BAD_IMAGE) from error
        _check_rate(task, source, rate, length)
        frames = _labeled_frames(task, source, length)
        regions = self._known(task, length)
        self._check_room(len(frames), sum(count_filled(region, frames, length=length) for region in regions))
        self._warn_of_others(regions, frames, source)
        self._problems.note(f"video {source!r}", f"{len(frames)} of its {length} frames are labeled")
        self.builder.video(source, source=source)
        self._add_frames(frames, regions, size, length)

    def _add_frames(
        self, frames: Sequence[int], regions: Sequence[Region], size: tuple[int, int], length: int
    ) -> None:
        rows = merge(
            *(_rows(number, region, frames, length) for number, region in enumerate(regions)),
            key=itemgetter(0),
        )
        row = next(rows, None)
        width, height = size
        for frame in frames:
            self.builder.frame(frame, width=width, height=height)
            while row is not None and row[0] == frame:
                _, number, box = row
                x1, y1, x2, y2 = box.corners
                self.builder.box(
                    *(x1 * width / 100, y1 * height / 100, x2 * width / 100, y2 * height / 100),
                    label=self._labels[regions[number].label],
                    track=number,
                    generated=not box.drawn,
                )
                row = next(rows, None)

    def _known(self, task: Task, length: int) -> list[Region]:
        """Return the regions of a task whose class is known and whose keyframes are in the video."""
        known = []
        for region in task.regions:
            last = region.keyframes[-1].frame
            if region.label not in self._labels:
                message = f"expected one of {listed(self.builder.classes)}, got {region.label!r}"
                self._problems.add(Kind.UNKNOWN_CLASS, region.where, message)
            elif last >= length:
                message = f"expected frames from 1 to {length}, as the video has, got {last + 1}"
                self._problems.add(Kind.NO_FRAME, region.where, message)
            else:
                known.append(region)
        return known

    def _warn_of_others(self, regions: Sequence[Region], frames: Sequence[int], source: str) -> None:
        """Warn of keyframes that a person drew in frames that were not exported."""
        if isinstance(frames, range):  # all frames
            return
        exported = set(frames)
        others = {key.frame for region in regions for key in region.keyframes if key.frame not in exported}
        if others:
            self._problems.warn(
                f"video {source!r}",
                f"{len(others)} frames with keyframes, such as {min(others)}, are not read, since they were "
                "not exported; to read all frames, remove megavid_frames from the data of the task",
            )

    def _check_room(self, frames: int, filled: int) -> None:
        """Check that all frames and interpolated boxes so far are not too many for the memory."""
        self._frames += frames
        self._filled += filled
        for count, most, what in (
            (self._frames, MOST_FRAMES, "frames"),
            (self._filled, MOST_FILLED, "boxes between keyframes"),
        ):
            if count > most:
                raise InputError(f"{self._path}: expected at most {most} {what}, got {count}")


def _rows(
    number: int, region: Region, frames: Sequence[int], length: int
) -> Iterator[tuple[int, int, Keyframe]]:
    """Yield the frame number, region number and box of each box of a region."""
    return ((box.frame, number, box) for box in fill_region(region, frames, length=length))


def _labeled_frames(task: Task, source: str, length: int) -> Sequence[int]:
    if task.frames is None:
        return range(length)
    frames: list[int] = task.frames.tolist()
    if frames and frames[-1] >= length:
        raise BadRowError(
            f"expected frames of {source}, which has {length}, got frame {frames[-1]} in megavid_frames",
            Kind.NO_FRAME,
        )
    return frames


def _check_rate(task: Task, source: str, rate: float, length: int) -> None:
    """Check that Label Studio counted the frames that the video has, or as many as its rate and duration say.

    Label Studio multiplies the duration by the `framerate` of its configuration and rounds the result, so
    with a wrong rate, boxes are in other frames than people saw. The duration includes the sound, which may
    be longer than the frames.
    """
    for region in task.regions:
        if region.timeline is None:
            continue
        frames, duration = region.timeline
        if frames != length and abs(frames - rate * duration) > _LARGEST_ROUNDING:
            raise BadRowError(
                f"was labeled with {frames:g} frames in {duration:g} s, but {source} has {rate:g} frames per "
                f'second: expected framerate="{rate:g}" in the tag Video of the labeling configuration'
            )
