"""Measure what linking changes on saved detections of real clips with truth.

    python -m benchmarks.linking_accuracy FOLDER

The folder has `detections.npz` (video, frame, boxes (N, 4), scores (N, K) of all classes) and `truth.json`,
CocoVID with a list "exhaustive" of the (video, class) pairs in which every object is annotated. AP50 is for
each of these pairs by itself, first after suppression within classes, then after each linker. Linkers get the
suppressed boxes, one for each class, as saved predictions have them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.commit import commit
from megavid.core.box_ops import nms_per_class
from megavid.core.detections import Detections, FrameResult
from megavid.evaluation import Boxes, average_precision
from megavid.linking.linkers import LINKERS

LOWEST_SCORE = 0.001
SUPPRESSION_IOU = 0.5


@dataclass(frozen=True)
class Pair:
    """A video and a class whose objects are all annotated.

    Attributes:
        video: Number of the video, from 0.
        label: Number of the class, from 0.
        name: Names of both.
        truth: Annotated boxes, all of class 0.
    """

    video: int
    label: int
    name: str
    truth: Boxes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    truth = json.loads((folder / "truth.json").read_text())
    found = np.load(folder / "detections.npz")
    classes = tuple(category["name"] for category in truth["categories"])
    chosen = pairs_of(truth)
    numbers = sorted({pair.video for pair in chosen})
    videos = {n: results(found, n, truth["videos"][n]["length"], classes) for n in numbers}
    print(f"commit {commit()}; {', '.join(pair.name for pair in chosen)}")
    print("no linking:", *(f"{score(videos[pair.video], pair):.1f}" for pair in chosen))
    for name, config in LINKERS.items():
        linked = {n: list(config().start()(video)) for n, video in videos.items()}
        print(f"{name}:", *(f"{score(linked[pair.video], pair):.1f}" for pair in chosen))


def pairs_of(truth: dict[str, Any]) -> list[Pair]:
    """Return the pairs in which every object is annotated."""
    videos = [video["name"] for video in truth["videos"]]
    classes = [category["name"] for category in truth["categories"]]
    frames = {image["id"]: (image["video_id"] - 1, image["frame_id"]) for image in truth["images"]}
    pairs = []
    for entry in truth["exhaustive"]:
        video, label = videos.index(entry["video"]), classes.index(entry["category"])
        boxes = sorted(
            (frames[a["image_id"]][1], *a["bbox"])
            for a in truth["annotations"]
            if frames[a["image_id"]][0] == video and a["category_id"] == label + 1
        )
        frame, x, y, width, height = np.array(boxes).T
        corners = np.stack([x, y, x + width, y + height], axis=1)
        objects = Boxes(frame.astype(np.int64), corners, np.zeros(len(boxes), np.int64))
        pairs.append(Pair(video, label, f"{entry['video']} {entry['category']}", objects))
    return pairs


def results(found: Any, video: int, length: int, classes: tuple[str, ...]) -> list[FrameResult]:
    """Return the detections of a video after suppression within classes."""
    frames = []
    for frame in range(length):
        rows = (found["video"] == video) & (found["frame"] == frame)
        vectors = found["scores"][rows].astype(np.float32)
        row, label = np.nonzero(vectors >= LOWEST_SCORE)
        boxes, scores = torch.from_numpy(found["boxes"][rows][row]), torch.from_numpy(vectors[row, label])
        labels = torch.from_numpy(label)
        kept = nms_per_class(boxes, scores, labels, SUPPRESSION_IOU)
        frames.append(
            FrameResult(frame, frame / 25, Detections(boxes[kept], scores[kept], labels[kept], classes))
        )
    return frames


def score(video: Sequence[FrameResult], pair: Pair) -> float:
    """Return AP50 of the pair's class in its video, in percent."""
    chosen = [result.detections[result.detections.labels == pair.label] for result in video]
    counts = [len(detections) for detections in chosen]
    found = Boxes(
        np.repeat(np.arange(len(video)), counts),
        torch.cat([detections.boxes for detections in chosen]).numpy(),
        np.zeros(sum(counts), np.int64),
        torch.cat([detections.scores for detections in chosen]).numpy(),
    )
    return 100 * float(average_precision(found, pair.truth, num_frames=len(video), num_classes=1).mean)


if __name__ == "__main__":
    main()
