"""Parse Label Studio's regions of type `videorectangle`, and interpolate boxes between their keyframes.

Source of the semantics: https://labelstud.io/tags/videorectangle and the editor of Label Studio. Every
keyframe is a box in its own frame. From a keyframe that is `enabled`, the box is interpolated linearly to the
next keyframe, or stays until the end of the video if there is none. After a keyframe that is not enabled, the
object is missing until the next keyframe.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

from megavid.datasets.formats.class_names import class_name
from megavid.datasets.formats.json_values import finite_number, shown, whole_number
from megavid.datasets.formats.limits import LARGEST_COORDINATE, LONGEST_VIDEO
from megavid.datasets.table.problems import BadRowError, Kind

Corners = tuple[float, float, float, float]
"""x1 y1 x2 y2 in percent of the frame."""


class Keyframe(NamedTuple):
    """The box of a region in one frame.

    Attributes:
        frame: Frame number, from 0; the file counts frames from 1.
        corners: The box, in percent of the frame.
        enabled: Whether the object is visible from here to the next keyframe.
        drawn: Whether a person drew the box; otherwise, Label Studio interpolated it for the export.
    """

    frame: int
    corners: Corners
    enabled: bool
    drawn: bool


@dataclass(frozen=True)
class Region:
    """An object in a video.

    Attributes:
        where: The file, task and region, for messages.
        label: Name of the class.
        keyframes: The keyframes by ascending frame, at least one.
        timeline: Number of frames and duration in seconds of the video as Label Studio saw it; None if the
            file does not state both.
    """

    where: str
    label: str
    keyframes: Sequence[Keyframe]
    timeline: tuple[float, float] | None


def parse_region(result: dict[str, Any], where: str) -> Region:
    """Parse an entry of `result` whose type is `videorectangle`.

    Raises:
        BadRowError: The entry is invalid.
    """
    value = result.get("value")
    if not isinstance(value, dict):
        raise BadRowError(f"expected value as an object, got {shown(value)}")
    labels = value.get("labels")
    names = [class_name(label) for label in labels] if isinstance(labels, list) else []
    if len(names) != 1 or names[0] is None:
        raise BadRowError(f"expected labels with one class, got {shown(labels)}")
    sequence = value.get("sequence")
    if not isinstance(sequence, list) or not sequence:
        raise BadRowError(f"expected sequence as a list of keyframes, got {shown(sequence)}")
    keyframes: dict[int, Keyframe] = {}
    for entry in sequence:
        keyframe = _keyframe(entry)
        if keyframes.setdefault(keyframe.frame, keyframe) != keyframe:
            raise BadRowError(f"has two keyframes in frame {keyframe.frame + 1}", Kind.DUPLICATE_BOX)
    return Region(where, names[0], [keyframes[n] for n in sorted(keyframes)], _timeline(value))


def fill_region(region: Region, frames: Sequence[int], *, length: int) -> Iterator[Keyframe]:
    """Yield the boxes of a region in some frames, by ascending frame.

    Args:
        region: The region.
        frames: Numbers of the frames, ascending.
        length: Number of frames of the video.

    Returns:
        The keyframes, and between them interpolated boxes, which are not `drawn`.
    """
    for keyframe, following, between in _gaps(region, frames, length):
        place = bisect_left(frames, keyframe.frame)
        if place < len(frames) and frames[place] == keyframe.frame:
            yield keyframe
        for frame in between:
            yield _interpolate(keyframe, following, frame)


def count_filled(region: Region, frames: Sequence[int], *, length: int) -> int:
    """Count the boxes that `fill_region` interpolates."""
    return sum(len(between) for _, _, between in _gaps(region, frames, length))


def _keyframe(entry: object) -> Keyframe:
    if not isinstance(entry, dict):
        raise BadRowError(f"expected keyframes as objects, got {shown(entry)}")
    frame = whole_number(entry.get("frame"))
    if frame is None or not 1 <= frame <= LONGEST_VIDEO:
        raise BadRowError(
            f"expected a frame from 1 to {LONGEST_VIDEO} in each keyframe, got {shown(entry.get('frame'))}"
        )
    where = f"frame {frame}"
    numbers = {key: finite_number(entry.get(key)) for key in ("x", "y", "width", "height")}
    for key, number in numbers.items():
        if number is None or abs(number) > LARGEST_COORDINATE:
            raise BadRowError(f"{where}: expected {key} in percent, got {shown(entry.get(key))}")
    x, y, width, height = (number for number in numbers.values() if number is not None)
    if not (width > 0 and height > 0):
        message = f"{where}: expected a width and a height above 0, got {width:g} and {height:g}"
        raise BadRowError(message, Kind.INVERTED)
    rotation = entry.get("rotation", 0)
    if finite_number(rotation) != 0:
        raise BadRowError(f"{where}: expected a box that is not rotated, got rotation {shown(rotation)}")
    enabled, auto = entry.get("enabled"), entry.get("auto", False)
    if not isinstance(enabled, bool) or not isinstance(auto, bool):
        key, got = ("auto", auto) if isinstance(enabled, bool) else ("enabled", enabled)
        raise BadRowError(f"{where}: expected {key} as true or false, got {shown(got)}")
    return Keyframe(frame - 1, (x, y, x + width, y + height), enabled, drawn=not auto)


def _timeline(value: dict[str, Any]) -> tuple[float, float] | None:
    given = [value.get(key) for key in ("framesCount", "duration")]
    if None in given:
        return None
    frames, duration = (finite_number(number) for number in given)
    if frames is None or duration is None or frames <= 0 or duration <= 0:
        raise BadRowError(
            f"expected framesCount and duration above 0, got {shown(given[0])} and {shown(given[1])}"
        )
    return frames, duration


def _gaps(
    region: Region, frames: Sequence[int], length: int
) -> Iterator[tuple[Keyframe, Keyframe, Sequence[int]]]:
    """Yield each keyframe, the one that it moves to, and the frames to interpolate between the two."""
    for keyframe, following in zip_longest(region.keyframes, region.keyframes[1:]):
        end = length if following is None else following.frame
        first, last = bisect_right(frames, keyframe.frame), bisect_left(frames, end)
        between = frames[first:last] if keyframe.enabled else ()
        yield keyframe, keyframe if following is None else following, between


def _interpolate(keyframe: Keyframe, following: Keyframe, frame: int) -> Keyframe:
    if following is keyframe:
        return keyframe._replace(frame=frame, drawn=False)
    part = (frame - keyframe.frame) / (following.frame - keyframe.frame)
    x1, y1, x2, y2 = (a + (b - a) * part for a, b in zip(keyframe.corners, following.corners, strict=True))
    return Keyframe(frame, (x1, y1, x2, y2), enabled=True, drawn=False)
