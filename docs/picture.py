"""Draws docs/frames.png: the frames MEGA looks at to detect one.

python docs/picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from megavid.datasets.synthetic.camera import film
from megavid.datasets.synthetic.scene import CLASSES
from megavid.video.render import Mark, draw_marks, label_color

SEED, VIDEO = 1, 8
KEY = 40
GLOBAL = (3, 66, 84, 95)
SMALL = (160, 120)
WIDTH, HEIGHT = 1160, 508
BLUE, GREEN, ORANGE, GREY = (38, 102, 178), (36, 130, 76), (196, 106, 20), (110, 110, 110)


def main() -> None:
    video = list(film(seed=SEED, video=VIDEO, frames=96, height=240, width=320))
    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(canvas)

    def paste(frame: int, at: tuple[int, int], size: tuple[int, int], color: tuple[int, int, int]) -> None:
        picture = Image.fromarray(video[frame].image).resize(size)
        canvas.paste(picture, at)
        draw.rectangle(
            (at[0] - 2, at[1] - 2, at[0] + size[0] + 1, at[1] + size[1] + 1), outline=color, width=3
        )
        draw.text((at[0], at[1] + size[1] + 5), f"frame {frame}", fill=color, font=font(14))

    def title(text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
        draw.text(at, text, fill=color, font=font(18))

    title("global frames: 10 from anywhere in the video", (20, 14), ORANGE)
    for i, frame in enumerate(GLOBAL):
        paste(frame, (20 + i * 180, 44), SMALL, ORANGE)
    title("memory: 25 frames that left the window", (20, 214), GREY)
    for i, frame in enumerate((4, 9, 14, 19, 23, 27)):
        paste(frame, (20 + i * 120, 244), (112, 84), GREY)
    title("local window: 12 frames before and 12 after", (20, 364), BLUE)
    for i, frame in enumerate((28, 32, 36, 44, 48, 52)):
        paste(frame, (20 + i * 120, 394), (112, 84), BLUE)
    title(f"key frame {KEY}: what is detected", (780, 14), GREEN)
    key = video[KEY]
    marks = [
        Mark(box * 360 / 320, CLASSES[label], label_color(label))
        for box, label in zip(key.boxes, key.labels.tolist(), strict=True)
    ]
    large = draw_marks(np.asarray(Image.fromarray(key.image).resize((360, 270))), marks)
    canvas.paste(Image.fromarray(large), (780, 44))
    draw.rectangle((778, 42, 1141, 315), outline=GREEN, width=3)
    for y, color in ((100, ORANGE), (276, GREY), (434, BLUE)):
        draw.line((742, y, 770, y + (180 - y) // 3), fill=color, width=4)
    for i, line in enumerate(
        (
            "Each frame is encoded once: trunk, proposals, features.",
            "Proposals of the key frame attend to those of all the",
            "other frames, by what they look like and where they are.",
        )
    ):
        draw.text((780, 340 + 24 * i), line, fill=(40, 40, 40), font=font(14))
    canvas.quantize(160).save(Path(__file__).with_name("frames.png"), optimize=True)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


if __name__ == "__main__":
    main()
