"""A slow and simple implementation of average precision, to compare the fast one with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation import Boxes

Box = NDArray[Any]


@dataclass
class Object:
    """An object: its box, whether it counts, and whether a detection was already matched to it."""

    box: Box
    counts: bool
    taken: bool = False


def iou(a: Box, b: Box) -> float:
    """Compute the IoU as the original release does: the corners of a box are its first and last pixels."""
    width = min(a[2], b[2]) + 1 - max(a[0], b[0])
    height = min(a[3], b[3]) + 1 - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    areas = [(x[2] + 1 - x[0]) * (x[3] + 1 - x[1]) for x in (a, b)]
    return float(overlap / (sum(areas) - overlap))


def simple_ap(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    motion_iou: NDArray[np.float64] | None = None,
    motion_range: tuple[float, float] = (0.0, 1.0),
) -> list[float]:
    motion = np.full(len(truth), 0.5) if motion_iou is None else motion_iou
    low, high = motion_range
    inside = [bool(low <= m <= high) for m in motion]
    entries = list(inside)
    for frame in range(num_frames):
        if frame not in truth.frame and motion_iou is not None:
            entries.append(low <= 0 <= high)
    share = sum(entries) / len(entries) if 0 < sum(entries) < len(entries) else 1.0
    return [
        simple_class_ap(found, truth, label, inside, share=share, num_frames=num_frames)
        for label in range(num_classes)
    ]


def simple_class_ap(
    found: Boxes, truth: Boxes, label: int, inside: list[bool], *, share: float, num_frames: int
) -> float:
    assert found.score is not None
    outcomes: list[tuple[float, int, float]] = []  # score, 1 if a hit or 0, weight as a false positive
    objects = 0
    for frame in range(num_frames):
        in_frame = [
            Object(truth.xyxy[i].astype(float), inside[i])
            for i in range(len(truth))
            if (truth.frame[i], truth.label[i]) == (frame, label)
        ]
        objects += sum(t.counts for t in in_frame)
        rows = [i for i in range(len(found)) if (found.frame[i], found.label[i]) == (frame, label)]
        for row in sorted(rows, key=lambda i: -found.score[i]):  # type: ignore[index]
            hit, weight = simple_outcome(found.xyxy[row].astype(float), in_frame, share)
            outcomes.append((float(found.score[row]), hit, weight))
    if objects == 0:
        return math.nan
    outcomes.sort(key=lambda outcome: -outcome[0])
    return area_under_envelope(outcomes, objects)


def simple_outcome(box: Box, in_frame: list[Object], share: float) -> tuple[int, float]:
    if not in_frame:
        return 0, share
    near = [t for t in in_frame if not t.taken and iou(box, t.box) >= 0.5]
    if near:
        winner = max(near, key=lambda t: (iou(box, t.box), t.counts))
        winner.taken = True
        return int(winner.counts), 0.0
    highest = max(iou(box, t.box) for t in in_frame)
    nearest = [t.counts for t in in_frame if iou(box, t.box) == highest]
    if all(nearest):
        return 0, 1.0
    if not any(nearest):
        return 0, 0.0
    return 0, sum(not t.counts for t in in_frame) / len(in_frame)


def area_under_envelope(outcomes: list[tuple[float, int, float]], objects: int) -> float:
    points = []
    hits = false_positives = 0.0
    for _, hit, weight in outcomes:
        hits, false_positives = hits + hit, false_positives + weight
        points.append((hits / objects, hits / (hits + false_positives) if hits else 0.0))
    area, reached = 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        area += (recall - reached) * max(precision for _, precision in points[i:])
        reached = recall
    return area
