"""Parse files of CVAT's export "CVAT for video 1.1": XML, or a zip with `annotations.xml`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

from megavid.core.errors import InputError
from megavid.core.files.regular_files import check_regular_file
from megavid.datasets.formats.cvat.cvat_tasks import Task, read_tasks
from megavid.datasets.formats.limits import LARGEST_COORDINATE
from megavid.datasets.table.problems import Kind, Problems


class Shape(NamedTuple):
    """The box of a track in one frame.

    Attributes:
        frame: Frame number.
        corners: x1 y1 x2 y2 in pixels, before the rotation.
        rotation: Rotation around the center in degrees.
        outside: Whether the object is invisible from this frame on.
        occluded: Whether the object is annotated as occluded.
        drawn: Whether a person drew the box; otherwise, it was interpolated.
        bad: Whether the file's entry is invalid, so that boxes must not be interpolated up to or from it.
    """

    frame: int
    corners: tuple[float, float, float, float]
    rotation: float
    outside: bool
    occluded: bool
    drawn: bool
    bad: bool = False


@dataclass(frozen=True)
class Track:
    """An object in a video.

    Attributes:
        where: The file and the track in it, for messages.
        label: Name of the class.
        task: Id of the task that the track belongs to; "" if the file does not name it.
        shapes: The object's boxes, by ascending frame.
    """

    where: str
    label: str
    task: str
    shapes: Sequence[Shape]


@dataclass(frozen=True, kw_only=True)
class Export:
    """The content of an exported file.

    Attributes:
        path: The exported file.
        labels: Names of the classes.
        tasks: The tasks in the file, at least one.
        tracks: The tracks of all tasks.
        with_images: Whether the file is a zip that also contains images.
    """

    path: Path
    labels: Sequence[str]
    tasks: Sequence[Task]
    tracks: Sequence[Track]
    with_images: bool

    def tracks_of(self, task: Task) -> list[tuple[int, Track]]:
        """Return a task's tracks and their indexes in `tracks`; all tracks if the file has only one task."""
        if len(self.tasks) == 1:
            return list(enumerate(self.tracks))
        return self._by_task.get(task.number, [])

    @cached_property
    def _by_task(self) -> dict[str, list[tuple[int, Track]]]:
        found: dict[str, list[tuple[int, Track]]] = {}
        for number, track in enumerate(self.tracks):
            found.setdefault(track.task, []).append((number, track))
        return found


def is_export(path: Path) -> bool:
    """Return whether a file looks like an export, without reading all of it."""
    try:
        if path.suffix.lower() == ".zip" and path.is_file():
            with zipfile.ZipFile(path) as archive:
                return _XML in archive.namelist()
        if path.suffix.lower() == ".xml" and path.is_file():
            with path.open("rb") as file:
                return b"<annotations" in file.read(_HEAD)
    except (OSError, zipfile.BadZipFile):
        pass
    return False


def is_unpacked(archive: Path, xml: Path) -> bool:
    """Return whether the `annotations.xml` in a zip has the size and checksum of an XML file.

    Raises:
        InputError: The zip or the file cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            inside = opened.getinfo(_XML)
        if inside.file_size != xml.stat().st_size:
            return False
        checksum = 0
        with xml.open("rb") as file:
            while chunk := file.read(_CHUNK):
                checksum = zlib.crc32(chunk, checksum)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{archive}: cannot be compared with {xml}: {error}") from error
    return checksum == inside.CRC


def read_export(path: Path, problems: Problems) -> Export:
    """Read an exported file.

    Args:
        path: The XML file or the zip.
        problems: Collects invalid shapes.

    Raises:
        InputError: The file is missing, broken or of another kind; or see `problems`.
    """
    builder = _Builder(path, problems)
    with _opened(path) as (file, with_images):
        try:
            root = _parse(file, builder, path)
        except InputError:
            raise
        except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
            raise InputError(f"{path}: expected XML: {error}") from error
        except _ARCHIVE_ERRORS as error:
            raise InputError(f"{path}: cannot be read: {error}") from error
    if root.tag != "annotations":
        raise InputError(f"{path}: {_EXPECTED_EXPORT}")
    meta = root.find("meta")
    meta = ElementTree.Element("meta") if meta is None else meta
    labels = [name for name in (label.findtext("name") for label in meta.iter("label")) if name]
    return Export(
        path=path,
        labels=list(dict.fromkeys(labels or [track.label for track in builder.tracks])),
        tasks=read_tasks(meta, path),
        tracks=builder.tracks,
        with_images=with_images,
    )


_XML = "annotations.xml"
_HEAD = 500
"""Number of bytes at the start of an XML file that are searched for CVAT's root element."""

_CHUNK = 1 << 20

_LARGEST = 1 << 30
"""Largest size of the XML in bytes, which is enough for six million boxes."""

_MOST_ELEMENTS = 600_000
"""Largest number of elements outside of tracks. Each class takes at least five of them."""

_DEEPEST = 50
"""Largest number of nested levels of elements. CVAT's files have ten."""

_EXPECTED_EXPORT = 'expected the export "CVAT for video 1.1", with tracks'
_EXPECTED_BOX = "expected a box with frame, xtl, ytl, xbr, ybr"
_ARCHIVE_ERRORS = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """Open the XML; yield the file, and whether it is in a zip that also contains images."""
    check_regular_file(path)
    try:
        if path.suffix.lower() != ".zip":
            with path.open("rb") as file:
                yield file, False
            return
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _XML not in names:
                raise InputError(f"{path}: expected {_XML} in it, as in the export CVAT for video 1.1")
            with archive.open(_XML) as file:
                yield file, any(name.startswith("images/") for name in names)
    except _ARCHIVE_ERRORS as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _parse(file: IO[bytes], builder: _Builder, path: Path) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=builder)
    size = 0
    while chunk := file.read(_CHUNK):
        size, before = size + len(chunk), builder.count
        parser.feed(chunk)
        # The parser scans an unfinished element again for each chunk, so elements must not be too long.
        if size > _LARGEST or (len(chunk) == _CHUNK and builder.count == before):
            raise InputError(f"{path}: expected at most {_LARGEST} bytes of XML per element")
    root: ElementTree.Element = parser.close()
    return root


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree without the content of tracks, which is collected in `tracks` instead.

    A document type, too many or too deeply nested elements, or images instead of tracks raise an
    `InputError`.
    """

    def __init__(self, path: Path, problems: Problems) -> None:
        super().__init__()
        self.tracks: list[Track] = []
        self.count = 0  # elements so far
        self._others = 0  # elements outside of tracks
        self._path, self._problems, self._depth = path, problems, 0
        self._track: _TrackReader | None = None

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise InputError(f"{self._path}: expected XML without a document type, which may expand without end")

    def start(self, tag: str, attrs: dict[str, str], /) -> ElementTree.Element:
        self._depth += 1
        self.count += 1
        self._others += self._track is None
        if self._depth > _DEEPEST or self._others > _MOST_ELEMENTS:
            raise InputError(
                f"{self._path}: expected at most {_DEEPEST} levels of nesting and {_MOST_ELEMENTS} elements "
                "beside tracks"
            )
        if tag == "image" and self._depth == 2:
            raise InputError(f"{self._path}: {_EXPECTED_EXPORT}, got images")
        if tag == "track" and self._depth == 2:
            where = f"{self._path}, track {attrs.get('id', len(self.tracks))}"
            self._track = _TrackReader(where, attrs, self._problems)
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ElementTree.Element:
        element = super().end(tag)
        self._depth -= 1
        if self._track is not None and self._depth == 2:
            self._track.add(element)
            element.clear()
        elif self._track is not None and self._depth == 1:
            self.tracks.append(self._track.finish())
            element.clear()
            self._track = None
        return element


class _TrackReader:
    """Collects the shapes of a track. If two shapes in one frame differ, the shape of that frame is bad."""

    def __init__(self, where: str, about: Mapping[str, str], problems: Problems) -> None:
        self._where, self._about, self._problems = where, about, problems
        self._shapes: dict[int, Shape] = {}
        self._others: set[str] = set()
        self._usable = True

    def add(self, element: ElementTree.Element) -> None:
        """Add an element of the track."""
        if element.tag != "box":
            self._others |= {element.tag} - {"attribute"}
            return
        try:
            frame = int(element.attrib["frame"])
        except (KeyError, ValueError) as error:
            self._problems.add(Kind.BAD_ROW, self._where, f"{_EXPECTED_BOX}: {error}")
            self._usable = False  # boxes must not be interpolated across a shape whose frame is unknown
            return
        shape = _shape(element, frame, self._where, self._problems)
        twin = self._shapes.get(frame)
        if twin is None or shape.bad:
            self._shapes[frame] = shape
        elif not twin.bad and _place(twin) != _place(shape):
            self._problems.add(Kind.DUPLICATE_BOX, self._where, f"has two boxes in frame {frame}")
            self._shapes[frame] = _bad(frame)
        elif not twin.bad and shape.drawn:
            self._shapes[frame] = shape

    def finish(self) -> Track:
        """Return the track; it has no shapes if an element is not a box or the frame of a box is unknown."""
        if self._others:
            message = f"expected boxes, got {', '.join(sorted(self._others))}"
            self._problems.add(Kind.BAD_ROW, self._where, message)
        usable = self._usable and not self._others
        shapes = [self._shapes[frame] for frame in sorted(self._shapes)] if usable else []
        return Track(self._where, self._about.get("label", ""), self._about.get("task_id", ""), shapes)


def _shape(box: ElementTree.Element, frame: int, where: str, problems: Problems) -> Shape:
    drawn = box.get("keyframe", "1") == "1"
    if box.get("outside") == "1":
        return Shape(frame, (0, 0, 0, 0), 0, outside=True, occluded=False, drawn=drawn)
    try:
        x1, y1, x2, y2 = (float(box.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        rotation = float(box.get("rotation", 0))
    except (KeyError, ValueError) as error:
        problems.add(Kind.BAD_ROW, where, f"{_EXPECTED_BOX}: {error}")
        return _bad(frame)
    corners = (x1, y1, x2, y2)
    listed = f"got {x1:g}, {y1:g}, {x2:g}, {y2:g}"
    if not all(abs(x) <= LARGEST_COORDINATE for x in (*corners, rotation)):  # false for NaN, too
        expected = f"frame {frame}: expected numbers up to {LARGEST_COORDINATE:g}"
        problems.add(Kind.BAD_ROW, where, f"{expected}, {listed}, rotation {rotation:g}")
        return _bad(frame)
    if not (x2 > x1 and y2 > y1):
        message = f"frame {frame}: expected xtl < xbr and ytl < ybr, {listed}"
        problems.add(Kind.INVERTED, where, message)
        return _bad(frame)
    return Shape(frame, corners, rotation, outside=False, occluded=box.get("occluded") == "1", drawn=drawn)


def _bad(frame: int) -> Shape:
    return Shape(frame, (0, 0, 0, 0), 0, outside=True, occluded=False, drawn=False, bad=True)


def _place(shape: Shape) -> tuple[object, ...]:
    return shape.corners, shape.rotation, shape.outside
