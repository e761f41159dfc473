"""From decoded frames to RGB as displayed."""

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
    """Converts the frames of one video, one after the other.

    PyAV's own `to_ndarray(format=...)` makes a converter for every frame, with a thread for every core, which
    all stay until the garbage collector comes.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame) -> Image:
        """RGB uint8 (H, W, 3) of a frame of any pixel format, turned the way it is to be displayed."""
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        image = cast(Image, rgb.to_ndarray())
        matrix = _display_matrix(frame)
        return image if matrix is None else _turn(image, *matrix)


def displayed_size(frame: VideoFrame) -> tuple[int, int]:
    """Width and height in pixels of a frame the way it is to be displayed."""
    return (frame.height, frame.width) if _lies_sideways(frame) else (frame.width, frame.height)


def displayed_aspect(frame: VideoFrame, pixel_aspect: Fraction | None) -> Fraction:
    """Width of a pixel by its height the way a frame is to be displayed; 1 where nothing sensible is said."""
    if pixel_aspect is None or not Fraction(1, 100) < pixel_aspect < 100:
        return Fraction(1)
    return 1 / pixel_aspect if _lies_sideways(frame) else pixel_aspect


def _lies_sideways(frame: VideoFrame) -> bool:
    """Whether width and height are swapped to display the frame."""
    matrix = _display_matrix(frame)
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """The a, b, c, d of FFmpeg's display matrix `a b u, c d v, x y w`; None if the frame has none."""
    try:
        for data in cast("Iterable[SideData]", frame.side_data):
            if data.type is SideDataType.DISPLAYMATRIX:
                a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
                return a, b, c, d
    except ValueError:  # PyAV cannot list side data of a kind it does not know; it still tells the angle
        angle = math.radians(frame.rotation)
        cos, sin = round(math.cos(angle) * 65536), round(math.sin(angle) * 65536)
        return cos, -sin, sin, cos
    return None


def _turn(image: Image, a: int, b: int, c: int, d: int) -> Image:
    """Display (x, y), y downwards, at x' = ax + cy, y' = bx + dy.

    Cameras write quarter turns and mirrors; any other angle is taken to the nearest of these.
    """
    if abs(b) > abs(a):  # x' comes from y
        image = image.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
