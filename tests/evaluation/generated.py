"""A small synthetic data set with images, and predictions with errors, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from megavid.datasets.synthetic.camera import film
from megavid.datasets.synthetic.scene import CLASSES
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.evaluation.prediction_table import PredictionTable


def write_data_set(
    root: Path, *, videos: int = 3, frames: int = 6, height: int = 120, width: int = 160
) -> Annotations:
    """Write synthetic clips as JPEG files; return the annotations of their objects."""
    builder = AnnotationBuilder(CLASSES, root=root)
    for number in range(videos):
        name = f"clip {number}"
        (root / name).mkdir(parents=True)
        builder.video(name)
        for t, frame in enumerate(film(seed=0, video=number, frames=frames, height=height, width=width)):
            file = f"{name}/{t:06d}.jpg"
            PIL.Image.fromarray(frame.image).save(root / file, quality=90)
            builder.frame(t, file=file, width=width, height=height)
            for box, label, track in zip(frame.boxes.tolist(), frame.labels, frame.tracks, strict=True):
                builder.box(*box, label=int(label), track=int(track))
    return builder.build()


def noisy_predictions(data: Annotations, *, seed: int = 0, noise: float = 2.0) -> PredictionTable:
    """Make predictions from true boxes: move all, drop and repeat some, change some classes, add others."""
    rng = np.random.default_rng(seed)
    frames, boxes, labels = data.box_frames, data.boxes, data.labels
    rows = np.flatnonzero(rng.random(len(boxes)) > 0.15)
    rows = np.concatenate((rows, rows[rng.random(len(rows)) < 0.1]))
    invented = rng.integers(0, len(boxes), len(boxes) // 8)
    frame = np.concatenate((frames[rows], frames[invented]))
    box = np.concatenate((boxes[rows], boxes[invented] / 2))
    box = box + rng.normal(0, noise, box.shape).astype(np.float32)
    box[:, 2:] = np.maximum(box[:, 2:], box[:, :2] + 1)
    label = np.concatenate((labels[rows], labels[invented]))
    wrong = rng.random(len(label)) < 0.1
    label[wrong] = (label[wrong] + 1) % len(data.classes)
    order = np.argsort(frame, kind="stable")
    lengths = data.frames_per_video.tolist()
    return PredictionTable(
        videos=data.videos,
        video=data.video[frame][order],
        frame=data.number[frame][order],
        labels=label[order].astype(np.int32),
        scores=rng.uniform(0.3, 1, len(frame)).astype(np.float32)[order],
        boxes=box[order].astype(np.float32),
        class_names=data.classes,
        lengths=dict(zip(data.videos, lengths, strict=True)),
        origin=Path("generated"),
    )
