"""Convert decoded frames to RGB, turned the way they are displayed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from megavid.core.frames import Image


class RgbConverter:
    """Converts the frames of one video, one at a time.

    PyAV's `to_ndarray(format=...)` would make a converter for every frame. Each converter would start a
    thread per core, and these threads would live until the converter is garbage-collected.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame) -> Image:
        """Convert a frame of any pixel format to RGB uint8 (H, W, 3), turned the way it is displayed."""
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        image = cast(Image, rgb.to_ndarray())
        matrix = _display_matrix(frame)
        return image if matrix is None else _turn(image, *matrix)


def displayed_size(frame: VideoFrame) -> tuple[int, int]:
    """Return the width and height of a frame in pixels, as displayed."""
    return (frame.height, frame.width) if _lies_sideways(frame) else (frame.width, frame.height)


def displayed_aspect(frame: VideoFrame, pixel_aspect: Fraction | None) -> Fraction:
    """Return the width of a pixel divided by its height, as displayed; 1 if unknown or implausible."""
    if pixel_aspect is None or not Fraction(1, 100) < pixel_aspect < 100:
        return Fraction(1)
    return 1 / pixel_aspect if _lies_sideways(frame) else pixel_aspect


def _lies_sideways(frame: VideoFrame) -> bool:
    """Return whether a player swaps width and height to display the frame."""
    matrix = _display_matrix(frame)
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """Return a, b, c, d of FFmpeg's display matrix `a b u, c d v, x y w`; None if the frame has none."""
    try:
        for data in cast("Iterable[SideData]", frame.side_data):
            if data.type is SideDataType.DISPLAYMATRIX:
                a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
                return a, b, c, d
    except ValueError:  # PyAV fails to list unknown kinds of side data, but still knows the angle
        angle = math.radians(frame.rotation)
        cos, sin = round(math.cos(angle) * 65536), round(math.sin(angle) * 65536)
        return cos, -sin, sin, cos
    return None


def _turn(image: Image, a: int, b: int, c: int, d: int) -> Image:
    """Move each pixel (x, y), y pointing down, to x' = ax + cy, y' = bx + dy.

    Cameras only write quarter turns and mirrorings. Other angles are rounded to the nearest quarter turn.
    """
    if abs(b) > abs(a):  # x' depends on y
        image = image.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
