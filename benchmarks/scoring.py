"""Measure how fast detections are scored, compared with plain loops, and how fast annotations are indexed.

    python -m benchmarks.scoring [--frames 176126]

Scores 300 random detections per frame, once each for all, fast, medium and slow objects. By default, there
are as many frames as in ImageNet VID's validation set. The plain loops score only 300 frames. Steadiness is
measured with the best tenth of the detections. Then a generated ILSVRC data set of 20,000 XML files is
indexed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.formats.ilsvrc.read_ilsvrc import read_ilsvrc
from megavid.datasets.table.annotations import AnnotationBuilder
from megavid.datasets.table.problems import Problems
from megavid.evaluation import MOTION_RANGES, Boxes, average_precision_by_motion
from megavid.evaluation.measure_steadiness import measure_steadiness
from tests.datasets.formats.ilsvrc.ilsvrc_set import write_ilsvrc
from tests.evaluation.simple_ap import Object, simple_outcome

CLASSES, BOXES_PER_FRAME, OBJECTS_PER_FRAME = 30, 300, 1.55
LOOPED_FRAMES = VIDEO_FRAMES = 300


def main(frames: int) -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    fast = measure(scoring(*random_data(frames), frames=frames)) / frames
    print(f"scoring: {1000 * fast:.3f} ms per frame of {frames}, peak memory {peak_gb():.1f} GB")
    slow = measure(looping(*random_data(LOOPED_FRAMES))) / LOOPED_FRAMES
    print(f"loops: {1000 * slow:.2f} ms per frame of {LOOPED_FRAMES}, {slow / fast:.0f} times as long")
    steady = measure(measuring_steadiness(*random_data(frames)[:2], frames=frames)) / frames
    print(f"steadiness: {1000 * steady:.3f} ms per frame of {frames}, peak memory {peak_gb():.1f} GB")
    with tempfile.TemporaryDirectory() as folder:
        root = write_ilsvrc(Path(folder) / "set", val_videos=100, frames=200)
        for workers in (1, 2):
            seconds = measure(lambda w=workers: read_ilsvrc(root, "vid_val", problems=Problems(), workers=w))  # type: ignore[misc]
            print(f"indexing with {workers} processes: {20_000 / seconds:.0f} XML files per second")


def random_data(frames: int) -> tuple[Boxes, Boxes, NDArray[np.float64]]:
    """Return random detections, random objects and the objects' motion IoU.

    Almost a tenth of the detections lie near an object of the same class.
    """
    rng = np.random.default_rng(0)
    objects = int(frames * OBJECTS_PER_FRAME)
    truth_frame = np.sort(rng.integers(0, frames, objects)).astype(np.int32)
    truth = Boxes(truth_frame, boxes(rng, objects), rng.integers(0, CLASSES, objects).astype(np.int32))
    frame = np.repeat(np.arange(frames, dtype=np.int32), BOXES_PER_FRAME)
    n = len(frame)
    xyxy, label = boxes(rng, n), rng.integers(0, CLASSES, n).astype(np.int32)
    rows = rng.integers(0, n, n // 10)
    near = np.searchsorted(truth_frame, frame[rows]).clip(max=objects - 1)
    rows, near = (x[truth_frame[near] == frame[rows]] for x in (rows, near))
    xyxy[rows] = truth.xyxy[near] + rng.normal(0, 8, (len(rows), 4))
    label[rows] = truth.label[near]
    return Boxes(frame, xyxy, label, rng.random(n, dtype=np.float32)), truth, rng.random(objects)


def boxes(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    corner, size = rng.uniform(0, 900, (n, 2)), rng.uniform(40, 300, (n, 2))
    return np.concatenate((corner, corner + size), axis=1).astype(np.float32)


def scoring(found: Boxes, truth: Boxes, motion: NDArray[np.float64], *, frames: int) -> Callable[[], object]:
    return lambda: average_precision_by_motion(
        found, truth, num_frames=frames, num_classes=CLASSES, motion_iou=motion
    )


def measuring_steadiness(found: Boxes, truth: Boxes, *, frames: int) -> Callable[[], object]:
    """Return a function that measures steadiness at a score of 0.9, with three tracks per video and class."""
    builder = AnnotationBuilder([str(label) for label in range(CLASSES)], root=Path())
    order = np.split(np.arange(len(truth)), np.searchsorted(truth.frame, np.arange(1, frames)))
    for frame, rows in enumerate(order):
        if frame % VIDEO_FRAMES == 0:
            builder.video(str(frame))
        builder.frame(frame)
        for row in rows.tolist():
            builder.box(*truth.xyxy[row].tolist(), label=int(truth.label[row]), track=row % 3)
    data = builder.build()

    def run() -> None:
        result = measure_steadiness(found, truth, data, score_threshold=0.9)
        assert result is not None
        result.as_dict()

    return run


def looping(found: Boxes, truth: Boxes, motion: NDArray[np.float64]) -> Callable[[], object]:
    """Return a function that matches detections to objects in plain loops, once for each motion range."""
    assert found.score is not None
    score = found.score
    here = [np.flatnonzero(found.frame == frame) for frame in range(LOOPED_FRAMES)]
    there = [np.flatnonzero(truth.frame == frame) for frame in range(LOOPED_FRAMES)]

    def run() -> None:
        ranges = MOTION_RANGES.values()
        for (low, high), frame, label in itertools.product(ranges, range(LOOPED_FRAMES), range(CLASSES)):
            objects = there[frame][truth.label[there[frame]] == label]
            things = [Object(truth.xyxy[i], bool(low <= motion[i] <= high)) for i in objects]
            rows = here[frame][found.label[here[frame]] == label]
            for row in rows[np.argsort(-score[rows], kind="stable")]:
                simple_outcome(found.xyxy[row], things, 0.5)

    return run


def measure(call: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=176_126)
    main(parser.parse_args().frames)
