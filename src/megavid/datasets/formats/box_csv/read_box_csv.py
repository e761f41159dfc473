"""Read megavid's CSV, with a row for each box and each frame without boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.atomic import inside
from megavid.core.files.paths import is_file
from megavid.core.text import listed
from megavid.datasets.find_media import describe_missing, find_media, names_to_find
from megavid.datasets.formats.box_csv.csv_rows import CsvBox, CsvRow, read_rows
from megavid.datasets.formats.class_names import check_class_count
from megavid.datasets.formats.limits import MOST_FRAMES
from megavid.datasets.match_frames import match_frames
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems

_Frames = dict[int, list[CsvRow]]
"""The rows of each frame of a video by its number."""


def is_box_csv(path: Path) -> bool:
    """Return whether a path is a file whose suffix is .csv."""
    return path.suffix.lower() == ".csv" and path.is_file()


def read_box_csv(
    path: Path, *, images: Path | None = None, classes: Sequence[str] | None = None, problems: Problems
) -> Annotations:
    """Read a file with the columns of `write_box_csv`; the scores and times in it are not used.

    Only frames that have a row are labeled. A row whose class and corners are empty says that its frame is
    labeled; if the frame has no other row, it has no objects.

    The frames of a video are read from the images that the column `file` names, or else from a video file
    or a folder of images that is called like the video. `datasets.match_frames` matches images to frames.

    Args:
        path: The CSV file.
        images: Folder that contains the video files or images; by default, the folder of the CSV file.
        classes: Names of the classes to read, in the order of their labels; None for all, in the order in
            which the file first uses them.
        problems: Collects invalid rows, and rows whose class is not read.

    Raises:
        InputError: The file is missing, broken or of another kind, or images cannot be matched to frames; or
            see `problems`.
    """
    videos: dict[str, _Frames] = {}
    names: dict[str, None] = {}
    frames = 0
    for row in read_rows(path, problems):
        rows = videos.setdefault(row.video, {}).setdefault(row.frame, [])
        frames += not rows
        if frames > MOST_FRAMES:
            raise InputError(f"{path}: expected at most {MOST_FRAMES} frames, got more")
        rows.append(row)
        if row.box is not None:
            names.setdefault(row.box.name)
    check_class_count(len(classes or names), origin=path)
    root = (images or path.parent).absolute()
    reader = _Reader(path, AnnotationBuilder(tuple(classes or names), root=root), problems)
    for name, wanted in names_to_find(videos).items():
        reader.read(name, wanted, dict(sorted(videos[name].items())), only=len(videos) == 1)
    return reader.builder.build()


class _Reader:
    """Reads videos into a table."""

    def __init__(self, path: Path, builder: AnnotationBuilder, problems: Problems) -> None:
        self.builder, self._path, self._problems = builder, path, problems
        self._labels = {name: label for label, name in enumerate(builder.classes)}
        self._videos: dict[str, str] = {}  # by video file

    def read(self, name: str, wanted: Sequence[str], frames: _Frames, *, only: bool) -> None:
        """Add a video to the table.

        Args:
            name: Name of the video.
            wanted: Names that its video file or folder of images may have.
            frames: The rows of each of its frames, by ascending number.
            only: Whether the file has no other video.
        """
        try:
            inside(self.builder.root, name)  # the name is from a file, and must not lead out of the folder
        except InputError as error:
            raise InputError(f"{next(iter(frames.values()))[0].where}: {error}") from error
        files = self._named_files(name, frames)
        source = ""
        if not files:
            media = find_media(self.builder.root, wanted, root=self.builder.root, only=only)
            source = media.source
            if media.files:
                matched = match_frames(media.files, list(frames), where=f"{self._path}, video {name!r}")
                files = matched.files
                self._problems.note(f"video {name!r}", matched.how)
            elif not source:
                missing = describe_missing(self.builder.root, wanted)
                self._problems.warn(f"video {name!r}", missing)
        other = self._videos.setdefault(source, name) if source else name
        if other != name:
            where = next(iter(frames.values()))[0].where
            raise InputError(f"{where}: expected one name for {source}, got {other!r} and {name!r}")
        self.builder.video(name, source=source)
        for number, rows in frames.items():
            self.builder.frame(number, file=files.get(number))
            self._add_boxes(rows)

    def _add_boxes(self, rows: Sequence[CsvRow]) -> None:
        tracks: set[int] = set()
        for row in rows:
            if row.box is None:
                continue
            label = self._labels.get(row.box.name)
            if label is None:
                message = f"expected one of {listed(self.builder.classes)}, got {row.box.name!r}"
                self._problems.add(Kind.UNKNOWN_CLASS, row.where, message)
            elif row.box.track in tracks:
                message = f"track {row.box.track} has another box in frame {row.frame} of {row.video!r}"
                self._problems.add(Kind.DUPLICATE_BOX, row.where, message)
            else:
                self._add_box(row.box, label)
                tracks |= {row.box.track} - {NO_TRACK}

    def _add_box(self, box: CsvBox, label: int) -> None:
        self.builder.box(*box.corners, label=label, track=box.track, generated=box.interpolated)

    def _named_files(self, name: str, frames: _Frames) -> Mapping[int, str]:
        """Return the image of each frame if the column `file` names them; empty if it names none.

        Raises:
            InputError: Only some of the frames have a name, or a frame has two.
        """
        files: dict[int, str] = {}
        for number, rows in frames.items():
            named = dict.fromkeys(row.file for row in rows if row.file)
            if len(named) > 1:
                got = listed(list(named))
                raise InputError(f"{rows[0].where}: expected one file for frame {number}, got {got}")
            if named:
                files[number] = next(iter(named))
        lacking = next((rows[0] for number, rows in frames.items() if number not in files), None)
        if not files or lacking is None:
            return self._in_folder(name, files)
        raise InputError(f"{lacking.where}: expected a file for frame {lacking.frame}, as for other frames")

    def _in_folder(self, name: str, files: Mapping[int, str]) -> Mapping[int, str]:
        """Return files relative to the root; they may be named relative to the folder of the video."""
        root, first = self.builder.root, next(iter(files.values()), None)
        if first is None or is_file(root / first):
            return files
        if is_file(root / name / first):
            return {number: f"{name}/{file}" for number, file in files.items()}
        self._problems.warn(f"video {name!r}", f"no images found: expected {first} in {root}")
        return files
