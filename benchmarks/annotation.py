"""Measure how fast annotated frames are drawn, and how fast they are written as a video.

    python -m benchmarks.annotation [--frames 100] [--size 720 1280]

The boxes and scores change from frame to frame, over a background that moves sideways. Prints a line for each
number of boxes. The CPU time of writing is that of all threads, and includes the encoder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from benchmarks.commit import commit
from megavid.core.detections import Detections
from megavid.core.frames import Image
from megavid.video.render import draw_detections
from megavid.video.video_writer import VideoWriter

T = TypeVar("T")

BOXES = (20, 66)
CLASSES = tuple(f"class {i}" for i in range(30))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=2, default=(720, 1280), metavar=("HEIGHT", "WIDTH"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"commit {commit()}, {os.cpu_count()} cores")
    height, width = arguments.size
    images = background(arguments.frames, height, width)
    for boxes in BOXES:
        found = detections(boxes, arguments.frames, height, width)
        drawing, drawn = measure(lambda f=found: list(map(draw_detections, images, f)), arguments.frames)  # type: ignore[misc]
        writing, _ = measure(lambda d=drawn: write(d), arguments.frames)  # type: ignore[misc]
        print(f"{boxes} boxes: drawing {drawing}; writing {writing}")


def write(images: Sequence[Image]) -> None:
    """Write frames of one size as a video, and remove it."""
    height, width = images[0].shape[:2]
    with (
        tempfile.TemporaryDirectory() as folder,
        VideoWriter(Path(folder) / "v.mp4", rate=Fraction(25), width=width, height=height) as writer,
    ):
        for i, image in enumerate(images):
            writer.write(image, i / 25)


def background(frames: int, height: int, width: int) -> list[Image]:
    """Return views of a random landscape, (H, W, 3), each 3 pixels further to the right."""
    tiles = np.random.default_rng(0).integers(0, 256, (height // 16 + 1, (width + 3 * frames) // 16 + 1, 3))
    landscape = tiles.astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    return [landscape[:height, 3 * i : 3 * i + width] for i in range(frames)]


def detections(boxes: int, frames: int, height: int, width: int) -> list[Detections]:
    """Return the same objects in each frame, with boxes that jitter by some pixels and with other scores."""
    rng = np.random.default_rng(1)
    center, size = rng.random((boxes, 2)) * (width, height), rng.uniform(20, height / 3, (boxes, 2))
    still = np.concatenate((center - size / 2, center + size / 2), axis=1)
    labels = torch.from_numpy(rng.integers(0, len(CLASSES), boxes))
    return [
        Detections(
            torch.from_numpy(still + rng.normal(0, 2, still.shape)).float(),
            torch.from_numpy(rng.uniform(0.5, 1, boxes)).float(),
            labels,
            CLASSES,
        )
        for _ in range(frames)
    ]


def measure(work: Callable[[], T], frames: int) -> tuple[str, T]:
    """Do work on frames; return how long it took, and what it returns."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{frames / wall:.0f} frames/s, {1000 * cpu / frames:.1f} ms of CPU time a frame", result


if __name__ == "__main__":
    main()
