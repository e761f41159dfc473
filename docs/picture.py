"""Draw docs/frames.png: the frames that MEGA uses to detect in one frame.

python docs/picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from megavid.core.frames import Image as Frame
from megavid.datasets.synthetic.camera import SyntheticFrame, film
from megavid.datasets.synthetic.scene import CLASSES
from megavid.video.render import Mark, draw_marks, label_color

SEED, VIDEO = 1, 8
KEY = 40
GLOBAL = (3, 66, 84, 95)
MEMORY = (4, 9, 14, 19, 23, 27)
WINDOW = (28, 32, 36, 44, 48, 52)
WIDTH, HEIGHT = 1160, 508
BLUE, GREEN, ORANGE, GRAY = (38, 102, 178), (36, 130, 76), (196, 106, 20), (110, 110, 110)
CAPTION = (
    "Each frame is encoded once: trunk, proposals, features.",
    "Proposals of the key frame attend to those of all the",
    "other frames, by what they look like and where they are.",
)

Color = tuple[int, int, int]


def main() -> None:
    video = list(film(seed=SEED, video=VIDEO, frames=96, height=240, width=320))
    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(canvas)
    rows = (
        ("global frames: 10 from anywhere in the video", GLOBAL, 14, (160, 120), ORANGE),
        ("memory: 25 frames that left the window", MEMORY, 214, (112, 84), GRAY),
        ("local window: 12 frames before and 12 after", WINDOW, 364, (112, 84), BLUE),
    )
    for title, numbers, y, size, color in rows:
        draw.text((20, y), title, fill=color, font=font(18))
        images = [(number, video[number].image) for number in numbers]
        draw_row(canvas, images, y + 30, size, color)
    draw.text((780, 14), f"key frame {KEY}: what is detected", fill=GREEN, font=font(18))
    canvas.paste(draw_key_frame(video[KEY]), (780, 44))
    draw.rectangle((778, 42, 1141, 315), outline=GREEN, width=3)
    for y, color in ((100, ORANGE), (276, GRAY), (434, BLUE)):
        draw.line((742, y, 770, y + (180 - y) // 3), fill=color, width=4)
    for i, line in enumerate(CAPTION):
        draw.text((780, 340 + 24 * i), line, fill=(40, 40, 40), font=font(14))
    canvas.quantize(160).save(Path(__file__).with_name("frames.png"), optimize=True)


def draw_row(
    canvas: Image.Image, images: list[tuple[int, Frame]], y: int, size: tuple[int, int], color: Color
) -> None:
    """Draw frames side by side, each with its number below."""
    draw = ImageDraw.Draw(canvas)
    width, height = size
    step = 180 if width == 160 else 120
    for i, (number, image) in enumerate(images):
        x = 20 + i * step
        canvas.paste(Image.fromarray(image).resize(size), (x, y))
        draw.rectangle((x - 2, y - 2, x + width + 1, y + height + 1), outline=color, width=3)
        draw.text((x, y + height + 5), f"frame {number}", fill=color, font=font(14))


def draw_key_frame(frame: SyntheticFrame) -> Image.Image:
    """Return the key frame, enlarged, with its objects."""
    marks = [
        Mark(box * 360 / 320, CLASSES[label], label_color(label))
        for box, label in zip(frame.boxes, frame.labels.tolist(), strict=True)
    ]
    large = np.asarray(Image.fromarray(frame.image).resize((360, 270)))
    return Image.fromarray(draw_marks(large, marks))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


if __name__ == "__main__":
    main()
