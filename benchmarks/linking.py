"""Measure how long linking takes, for each linker.

    python -m benchmarks.linking [--frames 300] [--boxes 100]

Boxes of a hundred objects move and jitter over a frame of 1280x720. Each linker gets them twice: with the
score of one class for each box, and with the scores of 80 classes. Prints milliseconds of CPU time a frame on
one thread, the median of three runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np
import torch

from benchmarks.commit import commit
from megavid.core.detections import Detections, FrameResult
from megavid.linking.linkers import LINKERS

CLASSES = tuple(f"class {i}" for i in range(80))
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--boxes", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"commit {commit()}, {os.cpu_count()} cores, {arguments.boxes} boxes")
    for name in LINKERS:
        times = [
            statistics.median(measure(name, video) for _ in range(REPEATS))
            for video in (results(arguments.frames, arguments.boxes, whole) for whole in (False, True))
        ]
        print(
            f"{name}: {times[0]:.2f} ms a frame; {times[1]:.2f} ms with the scores of {len(CLASSES)} classes"
        )


def measure(name: str, video: list[FrameResult]) -> float:
    """Return how many milliseconds a linker takes for a frame."""
    stage = LINKERS[name]().start()
    start = time.process_time()
    for _ in stage(video):
        pass
    return 1000 * (time.process_time() - start) / len(video)


def results(frames: int, boxes: int, whole: bool) -> list[FrameResult]:
    """Make results whose boxes move steadily, with noise; a tenth of them is missing in each frame.

    Args:
        frames: Number of frames.
        boxes: Number of boxes in each frame.
        whole: Whether the results have the scores of all classes.
    """
    rng = np.random.default_rng(0)
    objects = boxes * 10 // 9
    place, step = rng.uniform((0, 0), (1200, 640), (objects, 2)), rng.normal(0, 3, (objects, 2))
    size, label = rng.uniform(40, 200, (objects, 2)), rng.integers(0, len(CLASSES), objects)
    made = []
    for frame in range(frames):
        seen = rng.permutation(objects)[:boxes]
        corner = place[seen] + frame * step[seen] + rng.normal(0, 2, (boxes, 2))
        scores = np.sort(rng.uniform(0.05, 1, boxes))[::-1].astype(np.float32)
        vectors = rng.uniform(0, 0.05, (boxes, len(CLASSES))).astype(np.float32)
        vectors[np.arange(boxes), label[seen]] = scores
        found = Detections(
            boxes=torch.from_numpy(np.hstack((corner, corner + size[seen])).astype(np.float32)),
            scores=torch.from_numpy(scores.copy()),
            labels=torch.from_numpy(label[seen]),
            class_names=CLASSES,
            class_scores=torch.from_numpy(vectors) if whole else None,
        )
        made.append(FrameResult(frame, frame / 25, found))
    return made


if __name__ == "__main__":
    main()
