"""Interpolate the boxes of CVAT's tracks in frames for which the file has no boxes."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from megavid.datasets.formats.cvat.cvat_file import Shape, Track
from megavid.datasets.table.problems import Kind, Problems


def check_frames(track: Track, frames: Sequence[int], problems: Problems) -> Track:
    """Mark visible shapes of a track as bad if the video does not have their frames.

    Args:
        track: The track.
        frames: Numbers of the video's frames, ascending.
        problems: Collects the shapes that are marked.

    Raises:
        InputError: See `problems`.
    """
    shapes = []
    for shape in track.shapes:
        place = bisect_left(frames, shape.frame)
        if shape.outside or (place < len(frames) and frames[place] == shape.frame):
            shapes.append(shape)
            continue
        span = f"{frames[0]} to {frames[-1]}" if frames else "none"
        steps = (
            f" in steps of {frames[1] - frames[0]}" if len(frames) > 1 and frames[1] - frames[0] > 1 else ""
        )
        problems.add(Kind.BAD_ROW, track.where, f"expected frames {span}{steps}, got {shape.frame}")
        shapes.append(shape._replace(outside=True, bad=True))
    return replace(track, shapes=shapes)


def count_filled(tracks: Iterable[Track], frames: Sequence[int]) -> int:
    """Count the boxes that `fill_track` interpolates in all tracks."""
    return sum(len(between) for track in tracks for _, _, between in _gaps(track, frames))


def fill_track(track: Track, frames: Sequence[int]) -> Iterator[Shape]:
    """Yield the visible shapes of a track, and interpolated boxes in the frames between them.

    As in CVAT, boxes are interpolated linearly from one shape to the next. If the object is outside from the
    next shape on, its box stays where it is until then. Frames between a bad shape and its neighbors are not
    filled.

    Args:
        track: The track.
        frames: Numbers of the frames to fill, ascending.
    """
    for shape, following, between in _gaps(track, frames):
        yield shape
        for frame in between:
            yield _interpolate(shape, following, frame)


def box_around(shape: Shape) -> tuple[float, float, float, float]:
    """Compute the axis-aligned box around a shape that may be rotated: x1 y1 x2 y2 in pixels."""
    x1, y1, x2, y2 = shape.corners
    if not shape.rotation:
        return shape.corners
    cos, sin = (abs(f(math.radians(shape.rotation))) for f in (math.cos, math.sin))
    half_width = ((x2 - x1) * cos + (y2 - y1) * sin) / 2
    half_height = ((x2 - x1) * sin + (y2 - y1) * cos) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def _gaps(track: Track, frames: Sequence[int]) -> Iterator[tuple[Shape, Shape, Sequence[int]]]:
    """Yield each visible shape, the shape after it, and the numbers of the frames to fill between the two.

    If the next shape is missing or bad, the visible shape is yielded in its place, and there is no frame to
    fill.
    """
    for shape, following in zip_longest(track.shapes, track.shapes[1:]):
        if shape.outside:
            continue
        if following is None or following.bad:
            yield shape, shape, ()
            continue
        between = frames[bisect_right(frames, shape.frame) : bisect_left(frames, following.frame)]
        yield shape, following, between


def _interpolate(shape: Shape, following: Shape, frame: int) -> Shape:
    corners, rotation = shape.corners, shape.rotation
    if not following.outside:
        part = (frame - shape.frame) / (following.frame - shape.frame)
        moved = [a + (b - a) * part for a, b in zip(shape.corners, following.corners, strict=True)]
        corners = (moved[0], moved[1], moved[2], moved[3])
        rotation += ((following.rotation - rotation + 180) % 360 - 180) * part  # along the smaller angle
    return Shape(frame, corners, rotation, outside=False, occluded=shape.occluded, drawn=False)
