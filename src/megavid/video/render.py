"""Draw boxes with labels into frames."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from megavid.core.detections import Detections
from megavid.core.frames import Image

Color = tuple[int, int, int]
Span = tuple[int, int, int, int]
"""x1, y1, x2, y2 in integer pixels, half-open."""


@dataclass(frozen=True)
class Mark:
    """A box to draw, half-open in pixels of the frame, with its text and color."""

    box: Sequence[float]
    text: str
    color: Color


def draw_detections(image: Image, detections: Detections) -> Image:
    """Draw every box and its label, such as "dog 0.87", with the highest scores on top.

    Each class has its own color. If a box has a track, the track determines the color, and the label starts
    with the track's id ("#3 dog 0.87"). Line widths and text sizes are proportional to the shorter side of
    the frame. A box is drawn up to its last pixel, x2 - 1, and is clipped to the frame.

    Args:
        image: RGB uint8 (H, W, 3), which is not changed.
        detections: Boxes in pixels of this frame.

    Returns:
        A copy of the image with the drawing, RGB uint8 (H, W, 3).
    """
    marks = []
    for row in detections.scores.argsort(stable=True).tolist():
        label = int(detections.labels[row])
        name = detections.class_names[label] if detections.class_names else str(label)
        text = f"{name} {float(detections.scores[row]):.2f}"
        track = -1 if detections.tracks is None else int(detections.tracks[row])
        if track >= 0:
            text, label = f"#{track} {text}", track
        marks.append(Mark(detections.boxes[row].tolist(), text, label_color(label)))
    return draw_marks(image, marks)


def draw_marks(image: Image, marks: Sequence[Mark]) -> Image:
    """Draw all boxes, and then all texts; later marks cover earlier ones.

    Args:
        image: RGB uint8 (H, W, 3), which is not changed.
        marks: The boxes with their texts and colors.

    Returns:
        A copy of the image with the drawing, RGB uint8 (H, W, 3).
    """
    canvas = Pillow.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    short = min(image.shape[:2])
    width = max(1, round(short / 240))
    font = ImageFont.load_default(size=max(10, round(short / 36)))
    spans = [(_pixels(list(mark.box), canvas.size), mark) for mark in marks]
    visible = [(span, mark) for span, mark in spans if span is not None]
    for (x1, y1, x2, y2), mark in visible:
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=mark.color, width=width)
    for span, mark in visible:
        _draw_label(draw, mark.text, span, color=mark.color, font=font, frame=canvas.size)
    return np.array(canvas)


def label_color(label: int) -> Color:
    """Choose an RGB color for a label, so that the colors of successive labels differ clearly."""
    hue = label * 0.61803398875 % 1  # steps of the golden angle stay far apart on the color circle
    # After a dozen steps the hues come close to earlier ones, so the brightness varies, too.
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, (1.0, 0.7, 0.85, 0.55)[label % 4])
    return round(red * 255), round(green * 255), round(blue * 255)


def _pixels(box: list[float], frame: tuple[int, int]) -> Span | None:
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


def _draw_label(
    draw: ImageDraw.ImageDraw,
    text: str,
    span: Span,
    *,
    color: Color,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    frame: tuple[int, int],
) -> None:
    """Draw text on a filled strip above the box, or inside it at the top of the frame."""
    x1, y1, _, _ = span
    left, _, right, _ = draw.textbbox((0, 0), text, font=font)
    bottom = draw.textbbox((0, 0), "Ag", font=font)[3]  # so that all strips have the same height
    pad = max(1, round(bottom / 8))
    wide, high = math.ceil(right - left) + 2 * pad, math.ceil(bottom) + 2 * pad
    x = max(0, min(x1, frame[0] - wide))
    y = y1 - high if y1 >= high else y1
    y = max(0, min(y, frame[1] - high))
    draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=color)
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    draw.text((x + pad - left, y + pad), text, fill="black" if luma > 128 else "white", font=font)
