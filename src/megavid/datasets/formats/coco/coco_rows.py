"""Parse and check the rows of COCO files, one at a time."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from megavid.core.text import listed
from megavid.datasets.formats.json_values import finite_number, flag, shown, whole_number
from megavid.datasets.formats.limits import LARGEST_COORDINATE, LARGEST_SIDE
from megavid.datasets.frame_names import parse_name
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.problems import BadRowError, Kind

Row = dict[str, Any]

FRAME_KEYS = ("frame_id", "frame_index")
"""Keys for the frame number of an image; the first one that an image has is used. TAO has the second."""

_LARGEST_AREA = 1e10
"""Areas of at least this many square pixels count as unknown; COCO's own evaluation has the same limit."""


@dataclass(frozen=True, slots=True)
class CocoVideo:
    """A row of `videos`: the video's name, and its file, or None if it has none."""

    name: str
    file: str | None


@dataclass(frozen=True, slots=True)
class CocoImage:
    """A row of `images`: a still image, whose `video` is None, or a frame of a video.

    Width and height are 0 if unknown.
    """

    id: int
    file: str | None
    width: int
    height: int
    video: int | str | None
    frame: int
    listed: bool


@dataclass(frozen=True, slots=True)
class CocoObject:
    """A row of `annotations`. The box is half-open; the area is NaN if unknown."""

    image: int
    box: tuple[float, float, float, float]
    label: int
    track: str | None
    occluded: bool
    generated: bool
    ignore: bool
    crowd: bool
    area: float


def parse_video(row: Row) -> tuple[int | str, CocoVideo]:
    """Parse a row of `videos`, which has `id` and `name`.

    Returns:
        The id, and the video.

    Raises:
        BadRowError: The row is invalid.
    """
    number, name, file = _video_id(row["id"]), row["name"], _with_slashes(row.get("file_name"))
    if number is None:
        raise BadRowError("expected a whole number or text as id")
    if not isinstance(name, str | int) or isinstance(name, bool) or not _is_file_name(file):
        raise BadRowError("expected text as name and file_name")
    if "\0" in str(name):
        raise BadRowError("expected a name without NUL")
    return number, CocoVideo(str(name), file or None)


def parse_image(row: Row, videos: Container[int | str] | None, *, numbered: bool = True) -> CocoImage:
    """Parse a row of `images`.

    Args:
        row: The row, which has `id` and `file_name`.
        videos: Ids of the videos; None if all images are still images.
        numbered: Whether any image of the file has one of `FRAME_KEYS`; otherwise, frame numbers are taken
            from the names of image files.

    Raises:
        BadRowError: The row is invalid.
    """
    number, file = whole_number(row["id"]), _with_slashes(row["file_name"])
    width, height = (whole_number(row.get(side) or 0) for side in ("width", "height"))
    if number is None or width is None or height is None:
        raise BadRowError("expected whole numbers as id, width and height")
    if not (0 <= width <= LARGEST_SIDE and 0 <= height <= LARGEST_SIDE):
        raise BadRowError(f"expected a size of 1 to {LARGEST_SIDE} pixels, got {width}x{height}")
    if not _is_file_name(file) or (videos is None and not file):
        raise BadRowError(f"expected text as file_name, got {shown(file)}")
    video, frame = (None, 0) if videos is None else _place(row, videos, numbered=numbered)
    if width == 0 or height == 0:
        width = height = 0
    listed = _flag(row, "listed") if "listed" in row else True
    return CocoImage(number, file or None, width, height, video, frame, listed)


def parse_object(
    row: Row, images: Container[int], labels: Mapping[int, int], names: Mapping[int, str]
) -> CocoObject:
    """Parse a row of `annotations`.

    Args:
        row: The row, which has `image_id`, `category_id` and `bbox`.
        images: Ids of the images.
        labels: Label of each selected category, by the category's id.
        names: Names of all categories, by id.

    Raises:
        BadRowError: The row is invalid, or its category is not selected.
    """
    box = _corners(row["bbox"])
    image, category = whole_number(row["image_id"]), whole_number(row["category_id"])
    if image is None or image not in images:
        raise BadRowError(f"there is no image {shown(row['image_id'])}")
    if category is None or category not in labels:
        name = "which is not listed" if category is None else names.get(category, "which is not listed")
        wanted = listed(list(dict.fromkeys(names[number] for number in labels)))
        message = f"expected one of {wanted}, got category {shown(row['category_id'])}, {name}"
        raise BadRowError(message, Kind.UNKNOWN_CLASS)
    return CocoObject(
        image,
        box,
        labels[category],
        track=_track(row.get("instance_id", row.get("track_id"))),
        occluded=_flag(row, "occluded" if "occluded" in row else "is_occluded"),
        generated=_flag(row, "generated"),
        ignore=_flag(row, "ignore"),
        crowd=_flag(row, "iscrowd"),
        area=_area(row.get("area")),
    )


def shown_id(value: object) -> str:
    """Format an id for a message."""
    return value if isinstance(value, str) else shown(value)


def _place(row: Row, videos: Container[int | str], *, numbered: bool) -> tuple[int | str, int]:
    """Return the id of the video that an image belongs to, and the image's frame number."""
    video = _video_id(row.get("video_id"))
    key = next((key for key in FRAME_KEYS if key in row), FRAME_KEYS[0])
    file = row["file_name"]
    frame = whole_number(row.get(key)) if numbered else parse_name(file).number if file else None
    if video is None or video not in videos or frame is None:
        raise BadRowError("expected the id of a video and a frame_id")
    if frame < 0:
        raise BadRowError(f"expected a {key} of at least 0, got {frame}")
    return video, frame


def _corners(value: object) -> tuple[float, float, float, float]:
    numbers = [finite_number(number) for number in value] if isinstance(value, list) else []
    known = [number for number in numbers if number is not None and abs(number) <= LARGEST_COORDINATE]
    if len(numbers) != 4 or len(known) != 4:
        raise BadRowError(f"expected bbox as x, y, width, height, got {shown(value)}")
    x, y, width, height = known
    if not (width > 0 and height > 0):
        message = f"expected a width and a height above 0, got {width:g} and {height:g}"
        raise BadRowError(message, Kind.INVERTED)
    return x, y, x + width, y + height


def _track(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    number = whole_number(value)
    if number is None:
        raise BadRowError(f"expected a whole number or text as instance_id, got {shown(value)}")
    return None if number == NO_TRACK else str(number)


def _flag(row: Row, key: str) -> bool:
    found = flag(row.get(key))
    if found is None:
        raise BadRowError(f"expected {key} as true or false, 1 or 0, got {shown(row[key])}")
    return found


def _area(value: object) -> float:
    area = finite_number(value)
    return area if area is not None and 0 < area < _LARGEST_AREA else math.nan


def _video_id(value: object) -> int | str | None:
    return value if isinstance(value, str) else whole_number(value)


def _with_slashes(file: Any) -> Any:
    """Replace backslashes by slashes in a file name that has no slashes, as on Windows."""
    return file.replace("\\", "/") if isinstance(file, str) and "/" not in file else file


def _is_file_name(value: object) -> bool:
    if not isinstance(value, str):
        return value is None
    return value == "" or ("\0" not in value and PurePath(value).name != "")
