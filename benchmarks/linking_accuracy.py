"""Measure what linking changes on saved detections of real clips with truth.

    python -m benchmarks.linking_accuracy FOLDER

The folder has `detections.npz` (video, frame, boxes (N, 4), scores (N, K) of all classes) and `truth.json`,
CocoVID with a list "exhaustive" of the (video, class) pairs in which every object is annotated. All numbers
are of these pairs, first after suppression within classes, then after each linker. Linkers get the suppressed
boxes, one for each class, as saved predictions have them.

AP50 is for each pair by itself. Steadiness is for the tracks of all pairs together, at score thresholds that
are chosen without the clip that is measured: for each clip, the one with the best F1 on the pairs of the
other clips; then the default of `megavid detect`, with and without a linker, for all clips; then 0.5.
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
from numpy.typing import NDArray

from benchmarks.commit import commit
from megavid.cli.detect import DRAWN, DRAWN_LINKED
from megavid.core.box_ops import nms_per_class
from megavid.core.detections import Detections, FrameResult
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation import Boxes
from megavid.evaluation.best_f1 import best_f1
from megavid.evaluation.measure_steadiness import measure_steadiness
from megavid.evaluation.outcomes import Outcomes, Selection, outcomes_by_class
from megavid.evaluation.scoring import Curve
from megavid.evaluation.steadiness_text import NAMES, measure_text
from megavid.linking.linkers import LINKERS

LOWEST_SCORE = 0.001
SUPPRESSION_IOU = 0.5

CHOICES = ("best F1 on the other clips", "default", "0.5")
"""Ways to choose score thresholds."""


@dataclass(frozen=True)
class Pair:
    """A video and a class whose objects are all annotated.

    Attributes:
        video: Number of the video, from 0.
        label: Number of the class, from 0.
        name: Names of both.
    """

    video: int
    label: int
    name: str


@dataclass(frozen=True)
class Found:
    """Detections in all videos.

    Attributes:
        boxes: N detections.
        interpolated: bool (N,), detections that fill a gap.
    """

    boxes: Boxes
    interpolated: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    path = folder / "truth.json"
    truth = open_annotations(Source(path=path), problems=Problems())
    pairs = [
        Pair(truth.videos.index(one["video"]), truth.classes.index(one["category"]), " ".join(one.values()))
        for one in json.loads(path.read_text())["exhaustive"]
    ]
    saved = np.load(folder / "detections.npz")
    lengths = truth.frames_per_video.tolist()
    videos = [results(saved, i, length, truth.classes) for i, length in enumerate(lengths)]
    runs = {"no linking": collect(videos)}
    for name, config in LINKERS.items():
        runs[name] = collect([list(config().start()(video)) for video in videos])
    outcomes = {name: outcomes_of(found.boxes, truth, pairs) for name, found in runs.items()}
    print(f"commit {commit()}\nAP50", *(pair.name for pair in pairs), sep=" | ")
    for name, of_pairs in outcomes.items():
        print(name, *(f"{100 * Curve.of(one).ap:.1f}" for one in of_pairs), sep=" | ")
    for title in CHOICES:
        print(f"\n{title}", "thresholds", "precision, %", *NAMES.values(), "never found", sep=" | ")
        for name, found in runs.items():
            linked = title == "default" and name in LINKERS
            thresholds = [DRAWN_LINKED if linked else DRAWN] * len(pairs)
            if title.startswith("best"):
                thresholds = thresholds_of_others(outcomes[name], pairs)
            row = measures(found, truth, pairs, thresholds)
            print(name, *describe(thresholds, outcomes[name]), *row, sep=" | ")


def results(saved: Any, video: int, length: int, classes: tuple[str, ...]) -> list[FrameResult]:
    """Return the detections of a video after suppression within classes."""
    frames = []
    for frame in range(length):
        rows = (saved["video"] == video) & (saved["frame"] == frame)
        vectors = saved["scores"][rows].astype(np.float32)
        row, label = np.nonzero(vectors >= LOWEST_SCORE)
        boxes, scores = torch.from_numpy(saved["boxes"][rows][row]), torch.from_numpy(vectors[row, label])
        labels = torch.from_numpy(label)
        kept = nms_per_class(boxes, scores, labels, SUPPRESSION_IOU)
        frames.append(
            FrameResult(frame, frame / 25, Detections(boxes[kept], scores[kept], labels[kept], classes))
        )
    return frames


def collect(videos: Sequence[Sequence[FrameResult]]) -> Found:
    """Gather the detections of all videos, whose frames are all annotated."""
    found = [result.detections for video in videos for result in video]
    marks = [
        torch.zeros(len(one), dtype=torch.bool) if one.interpolated is None else one.interpolated
        for one in found
    ]
    boxes = Boxes(
        np.repeat(np.arange(len(found)), [len(one) for one in found]),
        torch.cat([one.boxes for one in found]).numpy(),
        torch.cat([one.labels for one in found]).numpy(),
        torch.cat([one.scores for one in found]).numpy(),
    )
    return Found(boxes, torch.cat(marks).numpy())


def outcomes_of(found: Boxes, truth: Annotations, pairs: Sequence[Pair]) -> list[Outcomes]:
    """Return the outcomes of each pair by itself."""
    objects = Boxes(truth.box_frames, truth.boxes, truth.labels)
    by_pair = []
    for pair in pairs:
        mine, wanted = (
            boxes.take((truth.video[boxes.frame] == pair.video) & (boxes.label == pair.label))
            for boxes in (found, objects)
        )
        every = Selection(np.zeros(len(wanted), np.bool_))
        sizes = {"num_frames": len(truth), "num_classes": len(truth.classes)}
        by_pair.append(outcomes_by_class(mine, wanted, [every], lambda one: one[0], **sizes)[pair.label])
    return by_pair


def thresholds_of_others(outcomes: Sequence[Outcomes], pairs: Sequence[Pair]) -> list[float]:
    """Return for each pair the score threshold with the best F1 on the pairs of the other videos."""
    thresholds = []
    for pair in pairs:
        best = best_f1([one for one, other in zip(outcomes, pairs, strict=True) if other.video != pair.video])
        assert best is not None
        thresholds.append(best.score_threshold)
    return thresholds


def measures(
    found: Found, truth: Annotations, pairs: Sequence[Pair], thresholds: Sequence[float]
) -> list[str]:
    """Return the measures of `NAMES` over the tracks of all pairs, and the number that are never found.

    Annotated objects of other classes keep the detections that are on them, as in `megavid score`.
    """
    objects = Boxes(truth.box_frames, truth.boxes, truth.labels)
    lowest = np.full(len(truth.videos), np.inf)
    lowest[[pair.video for pair in pairs]] = thresholds
    kept = found.boxes.score > lowest[truth.video[found.boxes.frame]]
    steadiness = measure_steadiness(
        found.boxes.take(kept), objects, truth, score_threshold=0, interpolated=found.interpolated[kept]
    )
    assert steadiness is not None
    known = {(pair.video, pair.label) for pair in pairs}
    keys = zip(steadiness.video.tolist(), steadiness.label.tolist(), strict=True)
    in_pairs = np.array([key in known for key in keys])
    values = steadiness.measures_by(in_pairs.astype(np.int64), 2)
    never_found = int((in_pairs & (steadiness.found == 0)).sum())
    return [*(measure_text(name, float(values[name][1])) for name in NAMES), str(never_found)]


def describe(thresholds: Sequence[float], outcomes: Sequence[Outcomes]) -> tuple[str, str]:
    """Return the range of the thresholds, and the precision of the pairs together, in percent."""
    true, false = 0, 0.0
    for one, threshold in zip(outcomes, thresholds, strict=True):
        kept = one.score > threshold
        true, false = true + int(one.hit[kept].sum()), false + float(one.false[kept].sum())
    span = f"{min(thresholds):.3f} to {max(thresholds):.3f}"
    return span, f"{100 * true / (true + false):.1f}" if true else "-"


if __name__ == "__main__":
    main()
