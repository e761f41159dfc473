"""Annotated videos as one table of frames and boxes.

Shapes: V videos, F frames, M boxes, C classes.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.ranges import INT64
from megavid.datasets.table.checks import check_names, check_numbers
from megavid.datasets.table.index_file import LARGEST_NUMBER, read_index, write_index

NO_TRACK = -1
"""Track id of a box without a track."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """A data set. Frames are sorted by video and time, boxes by frame.

    Attributes:
        classes: (C,), class names; a label is an index into them.
        root: The folder that file names are relative to.
        videos: (V,), unique names. A still image is a video of one frame.
        sources: (V,), video files relative to `root`; "" for videos whose frames are images.
        video: int32 (F,), index of each frame's video, ascending.
        number: int64 (F,), number of each frame in its video, ascending; numbers may be missing and need not
            start from 0.
        files: (F,), image files relative to `root`; null for frames without an image file, such as those of
            video files.
        width: int32 (F,), pixels; 0 if unknown.
        height: int32 (F,), pixels; 0 if unknown.
        listed: bool (F,), whether the frame is on the list of frames to train on; True if there is no list.
        image_ids: int64 (F,), ids of the frames in formats that have such ids, such as COCO.
        offsets: int64 (F + 1,); the boxes of frame f are the rows offsets[f] : offsets[f + 1].
        boxes: float32 (M, 4), half-open x1 y1 x2 y2 in pixels, not clipped to the frame.
        labels: int32 (M,), indexes into `classes`.
        tracks: int64 (M,), ids of the tracks within a video; `NO_TRACK` if unknown.
        occluded: bool (M,), whether the object is annotated as occluded.
        generated: bool (M,), whether a program made the box, for example by interpolation.
        difficult: bool (M,), whether the object is ignored in training and need not be detected.
        crowds: bool (M,), whether the box is around several objects; such boxes are difficult, too.
        areas: float32 (M,), area of the object itself, such as that of its mask, in square pixels; NaN if
            unknown.
        category_ids: (C,), ids of the classes in formats that have such ids, such as COCO.

    Raises:
        InputError: Two videos or two classes have the same name, two classes have the same id, or a box has a
            number that is not finite.
    """

    classes: tuple[str, ...]
    root: Path
    videos: tuple[str, ...]
    sources: tuple[str, ...]
    video: NDArray[np.int32]
    number: NDArray[np.int64]
    files: pa.StringArray
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    listed: NDArray[np.bool_]
    image_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    tracks: NDArray[np.int64]
    occluded: NDArray[np.bool_]
    generated: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    crowds: NDArray[np.bool_]
    areas: NDArray[np.float32]
    category_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        check_names(self)
        check_numbers(self)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.video)

    @property
    def box_frames(self) -> NDArray[np.int64]:
        """Row of each box's frame, (M,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def object_areas(self) -> NDArray[np.float64]:
        """`areas` (M,), with unknown areas replaced by those of the boxes."""
        sides = (self.boxes[:, 2:] - self.boxes[:, :2]).astype(np.float64)
        return np.where(np.isnan(self.areas), sides.prod(axis=1), self.areas)

    @property
    def frames_per_video(self) -> NDArray[np.int64]:
        """Number of frames of each video, (V,)."""
        return np.bincount(self.video, minlength=len(self.videos))

    def frames_of(self, video: int) -> slice:
        """Return the rows of a video's frames."""
        first, end = np.searchsorted(self.video, (video, video + 1))
        return slice(int(first), int(end))

    def describe(self, frame: int) -> str:
        """Name a frame in a message: by its image, or by its video and number."""
        file = self.files[frame].as_py()
        if file is not None:
            return str(self.root / file)
        video = self.video[frame]
        where = self.root / self.sources[video] if self.sources[video] else self.videos[video]
        return f"{where}, frame {self.number[frame]}"

    def select(self, frames: NDArray[np.bool_]) -> Annotations:
        """Select frames and their boxes; videos keep their numbers.

        Args:
            frames: bool (F,), whether to keep each frame.
        """
        rows = np.repeat(frames, np.diff(self.offsets))
        kept: dict[str, Any] = {name: getattr(self, name)[rows] for name in PER_BOX}
        kept |= {name: getattr(self, name)[frames] for name in PER_FRAME}
        offsets = np.concatenate(([0], np.diff(self.offsets)[frames].cumsum()))
        return replace(self, **kept, files=self.files.filter(pa.array(frames)), offsets=offsets)

    def save(self, path: Path) -> None:
        """Write a Parquet file, which `load_annotations` reads.

        Raises:
            InputError: See `write_index`.
        """
        write_index(path, {field.name: getattr(self, field.name) for field in fields(self)})


def load_annotations(path: Path) -> Annotations:
    """Read a file that `Annotations.save` wrote.

    Raises:
        InputError: See `read_index`.
    """
    return Annotations(**read_index(path))


class AnnotationBuilder:
    """Builds `Annotations` row by row.

    `frame` adds a frame to the last video, and `box` adds a box to the last frame.

    Args:
        classes: (C,), class names.
        root: The folder that file names are relative to.
        category_ids: (C,), ids of the classes in the format that is read; 1 to C by default.

    Raises:
        InputError: A method gets a number that is out of range, or a name that cannot be encoded in UTF-8.

    Examples:
        >>> builder = AnnotationBuilder(("cat",), root=folder)
        >>> builder.video("clip")
        >>> builder.frame(0, file="clip/000000.jpg", width=640, height=480)
        >>> builder.box(10, 20, 30, 40, label=0, track=7)
        >>> annotations = builder.build()
    """

    def __init__(
        self, classes: Sequence[str], *, root: Path, category_ids: Sequence[int] | None = None
    ) -> None:
        self.classes = tuple(classes)
        self.root = root
        self._category_ids = tuple(category_ids or range(1, len(self.classes) + 1))
        self._ranges = {**_RANGES, "labels": range(len(self.classes))}
        self._videos: list[str] = []
        self._sources: list[str] = []
        self._files: list[str | None] = []
        self._frames: dict[str, array[Any]] = {name: array("q") for name in (*PER_FRAME, "offsets")}
        self._boxes: dict[str, array[Any]] = {
            name: array("d" if name in {"boxes", "areas"} else "q") for name in PER_BOX
        }

    def video(self, name: str, *, source: str = "") -> None:
        """Add a video, with its file if it has one."""
        self._videos.append(name)
        self._sources.append(source)

    def frame(
        self,
        number: int,
        *,
        file: str | None = None,
        width: int = 0,
        height: int = 0,
        listed: bool = True,
        image_id: int | None = None,
    ) -> None:
        """Add a frame to the last video, with its image file if it has one."""
        values = {
            "video": len(self._videos) - 1,
            "number": number,
            "width": width,
            "height": height,
            "listed": listed,
            "image_ids": len(self._files) + 1 if image_id is None else image_id,
            "offsets": len(self._boxes["labels"]),
        }
        self._files.append(file)
        for name, value in values.items():
            self._check_range(name, value)
            self._frames[name].append(value)

    def box(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        *,
        label: int,
        track: int = NO_TRACK,
        occluded: bool = False,
        generated: bool = False,
        difficult: bool = False,
        crowd: bool = False,
        area: float = math.nan,
    ) -> None:
        """Add a half-open box to the last frame; see `Annotations`."""
        self._check_range("labels", label)
        self._check_range("tracks", track)
        try:
            self._boxes["boxes"].extend((x1, y1, x2, y2))
        except OverflowError as error:
            raise InputError(f"{self._last_frame()}: expected a box of finite numbers") from error
        values = (label, track, occluded, generated, difficult or crowd, crowd, area)
        for name, value in zip(PER_BOX[1:], values, strict=True):
            self._boxes[name].append(value)

    def build(self) -> Annotations:
        """Return the table."""
        with np.errstate(over="ignore"):  # infinite boxes are refused by `Annotations`, which names the frame
            columns: dict[str, Any] = {
                name: np.frombuffer(values, values.typecode).astype(_DTYPES[name])
                for name, values in (self._frames | self._boxes).items()
            }
        columns["boxes"] = columns["boxes"].reshape(-1, 4)
        columns["offsets"] = np.append(columns["offsets"], len(columns["labels"]))
        return Annotations(
            classes=self.classes,
            category_ids=self._category_ids,
            root=self.root,
            videos=tuple(self._videos),
            sources=tuple(self._sources),
            files=self._file_names(),
            **columns,
        )

    def _file_names(self) -> pa.StringArray:
        try:
            return pa.array(self._files, pa.string())
        except UnicodeEncodeError as error:
            raise InputError(f"{error.object}: expected a file name in UTF-8") from error

    def _check_range(self, name: str, value: int) -> None:
        allowed = self._ranges.get(name)
        if allowed is not None and value not in allowed:
            what = _NAMES.get(name, name)
            expected = f"{allowed.start} to {allowed.stop - 1}"
            raise InputError(f"{self._last_frame()}: {what}: expected {expected}, got {value}")

    def _last_frame(self) -> str:
        video = self._videos[-1] if self._videos else ""
        file = self._files[-1] if self._files else None
        return str(self.root / (file or video))


PER_FRAME = ("video", "number", "width", "height", "listed", "image_ids")
PER_BOX = ("boxes", "labels", "tracks", "occluded", "generated", "difficult", "crowds", "areas")
_RANGES: dict[str, range] = {
    "number": range(LARGEST_NUMBER + 1),
    **dict.fromkeys(("width", "height"), range(1 << 31)),
    **dict.fromkeys(("image_ids", "tracks"), INT64),
}
"""Ranges of values that the columns accept."""
_NAMES = {"number": "frame number", "image_ids": "image id", "tracks": "track id", "labels": "label"}
_DTYPES: dict[str, type] = {
    **dict.fromkeys(("video", "width", "height", "labels"), np.int32),
    **dict.fromkeys(("number", "image_ids", "offsets", "tracks"), np.int64),
    **dict.fromkeys(("listed", "occluded", "generated", "difficult", "crowds"), np.bool_),
    **dict.fromkeys(("boxes", "areas"), np.float32),
}
