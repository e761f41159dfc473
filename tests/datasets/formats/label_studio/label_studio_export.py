"""Parts of Label Studio's export of videos, for tests."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from megavid.video.video_writer import VideoWriter

FRAMES, WIDTH, HEIGHT, RATE = 10, 200, 100, 10


def write_clip(path: Path, *, frames: int = FRAMES) -> Path:
    """Write a video of `FRAMES` frames of 200x100 pixels at 10 frames per second."""
    with VideoWriter(path, rate=Fraction(RATE), width=WIDTH, height=HEIGHT) as writer:
        for number in range(frames):
            writer.write(np.full((HEIGHT, WIDTH, 3), 20 * number, np.uint8), number / RATE)
    return path


def keyframe(frame: int, x: float, y: float, width: float, height: float, **others: Any) -> dict[str, Any]:
    """Return a keyframe: its frame, from 1, and its box in percent."""
    box = {"x": x, "y": y, "width": width, "height": height}
    return {"frame": frame, **box, "rotation": 0, "enabled": True, "time": 0.1 * frame, **others}


def region(*sequence: Any, label: str = "fox", **value: Any) -> dict[str, Any]:
    """Return a region with keyframes."""
    about = {"framesCount": FRAMES, "duration": FRAMES / RATE, "labels": [label]}
    return {
        "id": "qmUpPQ_ZcP",
        "type": "videorectangle",
        "from_name": "box",
        "to_name": "video",
        "origin": "manual",
        "value": {**about, "sequence": list(sequence), **value},
    }


def task(*regions: Any, video: str = "/data/upload/3/0a1b2c3d-clip.mp4", **others: Any) -> dict[str, Any]:
    """Return a task with one annotation, as exported."""
    annotation = {"id": 11, "was_cancelled": False, "ground_truth": False, "result": list(regions)}
    return {
        "id": 5,
        "annotations": [annotation],
        "drafts": [],
        "predictions": [],
        "data": {"video": video},
        "meta": {},
        **others,
    }


def write_export(path: Path, *tasks: Any) -> Path:
    """Write a file of tasks."""
    path.write_text(json.dumps(list(tasks)))
    return path
