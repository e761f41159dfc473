"""Make docs/side_by_side.gif from the video that the demo wrote.

megavid demo -o demo_output
python docs/moving_picture.py demo_output/side_by_side.mp4
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
from PIL import Image

FIRST, FRAMES, EVERY = 144, 48, 2
WIDTH = 520


def main() -> None:
    with av.open(sys.argv[1]) as container:
        frames = [frame.to_image() for frame in container.decode(container.streams.video[0])]
    chosen = frames[FIRST : FIRST + FRAMES : EVERY]
    height = round(chosen[0].height * WIDTH / chosen[0].width)
    small = [frame.resize((WIDTH, height)).quantize(64, dither=Image.Dither.NONE) for frame in chosen]
    first, *rest = small
    path = Path(__file__).with_name("side_by_side.gif")
    first.save(path, save_all=True, append_images=rest, duration=40 * EVERY, loop=0, optimize=True)


if __name__ == "__main__":
    main()
