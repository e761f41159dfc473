"""Write predictions as tasks of Label Studio, a label tool in which people correct them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import MADE_BY, json_by_megavid
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.objects import ObjectBoxes, objects_of
from megavid.evaluation.predicted_annotations import PredictedAnnotations


def write_label_studio(predicted: PredictedAnnotations, path: Path, *, address: str = "") -> None:
    """Write a JSON list with a task for each video, whose predictions are regions of type `videorectangle`.

    The names of the tags are those of Label Studio's template for video object tracking: `video`, `box` and
    `videoLabels`. Each object is a region, whose `sequence` has every box as a keyframe, with the frame
    counted from 1 and the box in percent of the frame. Label Studio shows a box from a keyframe that is
    `enabled` to the next keyframe, so the last box before a frame without the object is not enabled.

    Source of the format: https://labelstud.io/tags/videorectangle and
    https://labelstud.io/guide/predictions (importing pre-annotations).

    Args:
        predicted: The predictions, with the size of frames.
        path: The file to write; it appears whole or not at all.
        address: What Label Studio needs before the name of a video to find it.

    Raises:
        InputError: The file cannot be written.
    """
    a = predicted.annotations
    tasks = [
        {
            "meta": MADE_BY,
            "data": {"video": address + (a.sources[video] or a.videos[video])},
            "predictions": [
                {
                    "model_version": "megavid",
                    "result": [_region(predicted, video, each) for each in objects_of(a, video)],
                }
            ],
        }
        for video in np.unique(a.video).tolist()
    ]
    with atomic_path(path, ours=json_by_megavid) as aside, aside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(tasks))


def _region(predicted: PredictedAnnotations, video: int, each: ObjectBoxes) -> dict[str, Any]:
    a = predicted.annotations
    name = f"box_{each.rows[0]}" if each.track == NO_TRACK else f"track_{each.track}_{each.label}"
    start = a.frames_of(video).start
    size = (float(a.width[start]), float(a.height[start]))
    return {
        "id": name,
        "type": "videorectangle",
        "from_name": "box",
        "to_name": "video",
        "origin": "prediction",
        "score": float(predicted.scores[each.rows].mean()),
        "value": {
            "labels": [a.classes[each.label]],
            "sequence": [
                {
                    "frame": frame + 1,
                    **_percent(a.boxes[row].tolist(), size),
                    "rotation": 0,
                    "enabled": not end,
                    **({} if np.isnan(predicted.times[row]) else {"time": float(predicted.times[row])}),
                }
                for row, frame, end in zip(each.rows, each.frames, each.ends, strict=True)
            ],
        },
    }


def _percent(box: list[float], size: tuple[float, float]) -> dict[str, float]:
    x1, y1, x2, y2 = box
    return {
        "x": 100 * x1 / size[0],
        "y": 100 * y1 / size[1],
        "width": 100 * (x2 - x1) / size[0],
        "height": 100 * (y2 - y1) / size[1],
    }
