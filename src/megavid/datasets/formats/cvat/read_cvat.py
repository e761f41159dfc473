"""Read CVAT's export "CVAT for video 1.1", in which each object is a track."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.text import listed
from megavid.datasets.formats.class_names import check_class_count
from megavid.datasets.formats.cvat.cvat_file import Export, Shape, Track, is_export, is_unpacked, read_export
from megavid.datasets.formats.cvat.cvat_tasks import Task
from megavid.datasets.formats.cvat.cvat_tracks import box_around, check_frames, count_filled, fill_track
from megavid.datasets.formats.cvat.cvat_videos import CvatVideo, find_videos
from megavid.datasets.formats.limits import LONGEST_VIDEO, MOST_FRAMES
from megavid.datasets.match_frames import match_frames
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems

MOST_FILLED = 1_000_000
"""Largest number of boxes to interpolate. In files that CVAT itself wrote, no boxes are left out."""


def is_cvat(path: Path) -> bool:
    """Return whether a path is an export of CVAT (XML or zip), or a folder with exports."""
    return bool(_exports(path)) if path.is_dir() else is_export(path)


def read_cvat(
    path: Path, *, images: Path | None = None, classes: Sequence[str] | None = None, problems: Problems
) -> Annotations:
    """Read an XML file, a zip as downloaded, or a folder of these. Each task is a video.

    If `path` is a folder, the XML files in it, the files `annotations.xml` in its subfolders, and the zips in
    it are read. Zips are skipped if one of these XML files was unpacked from them.

    Beside each exported file, its frames are searched for: a video file or a folder of images that has the
    name of the exported file or of the source in CVAT, or else a folder `images`. `datasets.match_frames`
    matches images to frames. If there are images, frames with neither an image nor a box are left out, since
    frames can be deleted in CVAT.

    As in CVAT, boxes are interpolated linearly in frames for which the file has no boxes. Boxes that were
    interpolated here or in CVAT are `generated`. Rotated boxes are replaced by the axis-aligned boxes around
    them.

    Args:
        path: The file or folder.
        images: Folder that contains the video files or the folders of images; by default, the folder of each
            exported file.
        classes: Names of the classes to read, in the order of their labels; None for all.
        problems: Collects invalid shapes, and tracks whose class is not read.

    Raises:
        InputError: A file is missing, broken or of another kind, or images cannot be matched to frames; or
            see `problems`.
    """
    files = _exports(path) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: expected a CVAT export in it, .xml or .zip")
    exports = [read_export(file, problems) for file in files]
    for export in exports:
        _check_tasks(export, problems)
    names = classes or dict.fromkeys(name for export in exports for name in export.labels)
    check_class_count(len(names), origin=path)
    root = (images or (path if path.is_dir() else path.parent)).absolute()
    reader = _Reader(AnnotationBuilder(tuple(names), root=root), problems)
    for video in find_videos(exports, path, images):
        reader.read(video)
    return reader.builder.build()


def _exports(folder: Path) -> list[Path]:
    """Return the exported files in a folder, without zips that were unpacked there."""
    found = [*sorted(folder.glob("*.xml")), *sorted(folder.glob("*/annotations.xml"))]
    found = [file for file in found if is_export(file)]
    zips = [file for file in sorted(folder.glob("*.zip")) if is_export(file)]
    return [*found, *(file for file in zips if not any(is_unpacked(file, xml) for xml in found))]


class _Reader:
    """Reads videos into a table."""

    def __init__(self, builder: AnnotationBuilder, problems: Problems) -> None:
        self.builder, self._problems = builder, problems
        self._labels = {name: label for label, name in enumerate(builder.classes)}
        self._frames = self._filled = 0

    def read(self, video: CvatVideo) -> None:
        """Add a video to the table."""
        tracks = self._tracks(video.export, video.task)
        frames = _frames(video.task, tracks.values())
        files = self._match(video, frames)
        present = [frame for frame in frames if frame in files] if files else frames
        tracks = {n: check_frames(track, frames, self._problems) for n, track in tracks.items()}
        self._check_room(video, len(frames), count_filled(tracks.values(), present))
        visible = [shape for track in tracks.values() for shape in track.shapes if not shape.outside]
        labeled = {shape.frame for shape in visible}
        kept = [frame for frame in frames if frame in files or frame in labeled] if files else frames
        rotated = sum(bool(shape.rotation) for shape in visible)
        if rotated:
            self._problems.note(
                f"video {video.name!r}", f"{rotated} boxes are rotated: their bounding boxes are used"
            )
        if len(kept) < len(frames):
            deleted = len(frames) - len(kept)
            self._problems.note(
                f"video {video.name!r}", f"{deleted} frames without image and boxes are left out"
            )
        self.builder.video(video.name, source=video.media.source)
        self._add_frames(kept, files, (video.task.width, video.task.height), tracks, present)

    def _add_frames(
        self,
        frames: Iterable[int],
        files: Mapping[int, str],
        size: tuple[int, int],
        tracks: Mapping[int, Track],
        present: Sequence[int],
    ) -> None:
        """Add frames and their boxes, and interpolate boxes in the frames `present`."""
        rows = merge(
            *(_rows(number, track, present) for number, track in tracks.items()),
            key=itemgetter(0),
        )
        row = next(rows, None)
        for frame in frames:
            self.builder.frame(frame, file=files.get(frame), width=size[0], height=size[1])
            while row is not None and row[0] == frame:
                _, number, shape = row
                self.builder.box(
                    *box_around(shape),
                    label=self._labels[tracks[number].label],
                    track=number,
                    occluded=shape.occluded,
                    generated=not shape.drawn,
                )
                row = next(rows, None)

    def _tracks(self, export: Export, task: Task) -> dict[int, Track]:
        """Return those tracks of a task whose class is known, by their numbers in the file."""
        kept = {}
        for number, track in export.tracks_of(task):
            if track.label in self._labels:
                kept[number] = track
            else:
                message = f"expected one of {listed(self.builder.classes)}, got {track.label!r}"
                self._problems.add(Kind.UNKNOWN_CLASS, track.where, message)
        return kept

    def _match(self, video: CvatVideo, frames: Sequence[int]) -> dict[int, str]:
        """Find the image of each frame if there are images, and note how frames were found."""
        media, where = video.media, f"video {video.name!r}"
        if media.files and frames:
            matched = match_frames(media.files, frames, where=video.export.path)
            others = len(matched.files) - len(set(frames).intersection(matched.files))
            rest = f"; {others} images are not frames of the task" if others else ""
            self._problems.note(where, f"{matched.how}{rest}")
            return matched.files
        span = f"frames {frames[0]} to {frames[-1]} ({len(frames)})" if frames else "no frames"
        if media.source:
            self._problems.note(
                f"video {video.name!r}", f"{span} in {media.source}, by their numbers in the video"
            )
        else:
            self._problems.warn(where, video.missing)
        return {}

    def _check_room(self, video: CvatVideo, frames: int, filled: int) -> None:
        """Check that all frames and interpolated boxes so far are not too many for the memory."""
        self._frames += frames
        self._filled += filled
        for count, most, what in (
            (self._frames, MOST_FRAMES, "frames"),
            (self._filled, MOST_FILLED, "boxes between those in the file"),
        ):
            if count > most:
                raise InputError(f"{video.export.path}: expected at most {most} {what}, got {count}")


def _rows(number: int, track: Track, frames: Sequence[int]) -> Iterator[tuple[int, int, Shape]]:
    """Yield the frame number, track number and shape of each box of a track."""
    return ((shape.frame, number, shape) for shape in fill_track(track, frames))


def _frames(task: Task, tracks: Iterable[Track]) -> range:
    """Return the frame numbers of a task; if the file does not state how many, they end at the last box."""
    size = task.size
    if size is None:
        last = max((s.frame for t in tracks for s in t.shapes if not s.outside), default=task.first - 1)
        size = min((last - task.first) // task.step + 1, LONGEST_VIDEO)
    return range(task.first, task.first + size * task.step, task.step)


def _check_tasks(export: Export, problems: Problems) -> None:
    """If a file has several tasks, check that their ids differ and that every track names one of them."""
    ids = [task.number for task in export.tasks]
    if len(ids) == 1:
        return
    known = set(ids)
    if len(known) < len(ids):
        raise InputError(f"{export.path}: expected tasks with ids that differ, got {listed(ids)}")
    for track in export.tracks:
        if track.task not in known:
            message = f"expected task_id to be one of {listed(ids)}, got {track.task or 'none'}"
            problems.add(Kind.BAD_ROW, track.where, message)
