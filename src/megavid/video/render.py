"""Draw boxes with labels into frames."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from megavid.core.detections import Detections
from megavid.core.frames import Image

Color = tuple[int, int, int]
Span = tuple[int, int, int, int]
"""x1, y1, x2, y2 in integer pixels, half-open."""


_SPACE = "  "
"""Space between two words of a label: two of the font's, since one is hard to see in small frames."""


@dataclass(frozen=True)
class Mark:
    """A box to draw, half-open in pixels of the frame, with its text and color.

    Attributes:
        box: x1, y1, x2, y2.
        text: Text of the label.
        color: Color of the outline and of the label's background.
        dashed: Whether the outline is dashed.
    """

    box: Sequence[float]
    text: str
    color: Color
    dashed: bool = False


def draw_detections(image: Image, detections: Detections) -> Image:
    """Draw every box and its label, such as "dog 0.87", with the highest scores on top.

    Each class has its own color. If a box has a track, the track determines the color, and the label starts
    with the track's id ("#3 dog 0.87"). The outlines of interpolated boxes are dashed. Line widths and text
    sizes are proportional to the shorter side of the frame. A box is drawn up to its last pixel, x2 - 1, and
    is clipped to the frame.

    Args:
        image: RGB uint8 (H, W, 3), which is not changed.
        detections: Boxes in pixels of this frame.

    Returns:
        A copy of the image with the drawing, RGB uint8 (H, W, 3).
    """
    found = detections.cpu()
    order = found.scores.argsort(stable=True).tolist()
    boxes, scores, labels = found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    tracks = [-1] * len(found) if found.tracks is None else found.tracks.tolist()
    dashed = [False] * len(found) if found.interpolated is None else found.interpolated.tolist()
    names = found.class_names
    marks = []
    for row in order:
        label, track = labels[row], tracks[row]
        text = f"{names[label] if names else label} {scores[row]:.2f}"
        if track >= 0:
            text, label = f"#{track} {text}", track
        marks.append(Mark(boxes[row], text, label_color(label), dashed=dashed[row]))
    return draw_marks(image, marks)


def draw_marks(image: Image, marks: Sequence[Mark]) -> Image:
    """Draw all boxes, and then all texts; later marks cover earlier ones.

    Args:
        image: RGB uint8 (H, W, 3), which is not changed.
        marks: The boxes with their texts and colors.

    Returns:
        A copy of the image with the drawing, RGB uint8 (H, W, 3).
    """
    canvas = np.array(image, order="C")
    height, width = canvas.shape[:2]
    short = min(height, width)
    line, size = max(1, round(short / 240)), max(10, round(short / 36))
    spans = [(_pixels(mark.box, (width, height)), mark) for mark in marks]
    visible = [(span, mark) for span, mark in spans if span is not None]
    for span, mark in visible:
        (_draw_dashed if mark.dashed else _draw_box)(canvas, span, color=mark.color, line=line)
    for (x, y, _, _), mark in visible:
        _draw_label(canvas, mark.text, (x, y), color=mark.color, size=size)
    return canvas


def label_color(label: int) -> Color:
    """Choose an RGB color for a label, so that the colors of successive labels differ clearly."""
    hue = label * 0.61803398875 % 1  # steps of the golden angle stay far apart on the color circle
    # After a dozen steps the hues come close to earlier ones, so the brightness varies, too.
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, (1.0, 0.7, 0.85, 0.55)[label % 4])
    return round(red * 255), round(green * 255), round(blue * 255)


def _pixels(box: Sequence[float], frame: tuple[int, int]) -> Span | None:
    """Round a box to whole pixels, at least one in each direction, and clip it to the frame.

    Returns:
        The pixels of the box; None if the box is outside of the frame or not finite.
    """
    width, height = frame
    if not all(math.isfinite(value) for value in box):
        return None
    x1, y1 = max(0, round(box[0])), max(0, round(box[1]))
    x2, y2 = min(width, max(round(box[2]), x1 + 1)), min(height, max(round(box[3]), y1 + 1))
    outside = box[2] < 0 or box[3] < 0 or x1 >= width or y1 >= height
    return None if outside else (x1, y1, x2, y2)


def _draw_box(canvas: Image, span: Span, *, color: Color, line: int) -> None:
    """Draw the outline of a box, `line` pixels wide, inside the box."""
    x1, y1, x2, y2 = span
    rows = canvas.reshape(len(canvas), -1)[y1:y2, 3 * x1 : 3 * x2]  # copied faster than pixel by pixel
    side, edge = np.array(color * min(line, x2 - x1), np.uint8), np.array(color * (x2 - x1), np.uint8)
    rows[:line] = rows[-line:] = edge
    rows[:, : len(side)] = rows[:, -len(side) :] = side


def _draw_dashed(canvas: Image, span: Span, *, color: Color, line: int) -> None:
    """Draw the outline of a box like `_draw_box`, but in dashes of five times its width."""
    x1, y1, x2, y2 = span
    pixels = canvas[y1:y2, x1:x2]
    height, width = pixels.shape[:2]
    across, down = (np.arange(size) // (5 * line) % 2 == 0 for size in (width, height))
    dashes = np.zeros((height, width), np.bool_)
    dashes[:line] = dashes[-line:] = across
    dashes[:, :line] |= down[:, None]
    dashes[:, -line:] |= down[:, None]
    pixels[dashes] = color


def _draw_label(canvas: Image, text: str, corner: tuple[int, int], *, color: Color, size: int) -> None:
    """Draw text on a filled strip above a box, or inside it at the top of the frame.

    Args:
        canvas: Image to draw into, RGB uint8 (H, W, 3).
        text: The text.
        corner: x and y of the box's upper left pixel.
        color: Color of the strip.
        size: Height of the font, pixels.
    """
    words = text.split(" ")  # names and scores occur in many labels, but each word is rendered once
    last = len(words) - 1
    parts = [
        _render(word if i == last else word + _SPACE, size, starts=i == 0, ends=i == last)
        for i, word in enumerate(words)
    ]
    opacity = np.concatenate(parts, axis=1)
    (height, width), (high, wide) = canvas.shape[:2], opacity.shape
    x = max(0, min(corner[0], width - wide))
    y = corner[1] - high if corner[1] >= high else corner[1]
    y = max(0, min(y, height - high))
    canvas[y : y + high, x : x + wide] = _shades(color).take(opacity[: height - y, : width - x], 0)


@lru_cache(maxsize=1024)
def _render(text: str, size: int, *, starts: bool = False, ends: bool = False) -> NDArray[np.uint8]:
    """Render a part of a label; all parts have the same height.

    Args:
        text: The text.
        size: Height of the font, pixels.
        starts: Whether the label starts with this part, so that there is a margin before it.
        ends: Whether the label ends with this part, so that there is a margin after it.

    Returns:
        Opacity of the text, (H, W), which is not to be changed.
    """
    font = _font(size)
    bottom = font.getbbox("Ag")[3]
    pad = max(1, round(bottom / 8))
    left, _, right, _ = font.getbbox(text)
    x = pad - left if starts else 0
    wide = math.ceil(x + (right + pad if ends else font.getlength(text)))
    image = Pillow.new("L", (wide, math.ceil(bottom) + 2 * pad))
    ImageDraw.Draw(image).text((x, pad), text, fill=255, font=font)
    return np.array(image)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=1024)
def _shades(color: Color) -> NDArray[np.uint8]:
    """Blend a strip's color with its text, which is black or white; one shade (3,) for each opacity."""
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    text = 0 if luma > 128 else 255
    opacity = np.arange(256)[:, None]
    return ((np.array(color) * (255 - opacity) + text * opacity) / 255).round().astype(np.uint8)
