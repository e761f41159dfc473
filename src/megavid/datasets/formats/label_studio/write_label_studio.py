"""Write tasks of Label Studio, a label tool in which people correct boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import MADE_BY, json_by_megavid
from megavid.datasets.formats.frame_runs import FrameRuns
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.datasets.table.objects import ObjectBoxes, objects_of

FRAMES_KEY = "megavid_frames"
"""Key of a task's data with the frames that were exported, as runs of first number, last number and step,
counted from 0. Label Studio keeps it, and `read_label_studio` reads these frames only."""


def write_label_studio(
    annotations: Annotations,
    path: Path,
    *,
    address: str = "",
    scores: NDArray[np.float32] | None = None,
    times: NDArray[np.float64] | None = None,
) -> None:
    """Write a JSON list with a task for each video, whose predictions are regions of type `videorectangle`.

    The names of the tags are those of Label Studio's template for video object tracking: `video`, `box` and
    `videoLabels`. Each object is a region, whose `sequence` has every box as a keyframe, with the frame
    counted from 1 and the box in percent of the frame. Label Studio shows a box from a keyframe that is
    `enabled` to the next keyframe, so the last box before a frame without the object is not enabled.
    Difficult objects and crowds are written like other objects, since the format cannot mark them.

    Source of the format: https://labelstud.io/tags/videorectangle and
    https://labelstud.io/guide/predictions (importing pre-annotations).

    Args:
        annotations: The data set, with the size of its frames.
        path: The file to write; it appears whole or not at all.
        address: What Label Studio needs before the name of a video to find it.
        scores: (M,), scores of the boxes if they are predictions.
        times: (M,), time of each box's frame in its video, seconds; NaN if unknown.

    Raises:
        InputError: The file cannot be written, or the size of a video's frames is unknown.
    """
    tasks = [_task(annotations, video, address, scores, times) for video in np.unique(annotations.video)]
    with atomic_path(path, ours=json_by_megavid) as aside, aside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(tasks))


def _task(
    a: Annotations,
    video: int,
    address: str,
    scores: NDArray[np.float32] | None,
    times: NDArray[np.float64] | None,
) -> dict[str, Any]:
    span = a.frames_of(video)
    size = (float(a.width[span.start]), float(a.height[span.start]))
    if not all(size):
        raise InputError(
            f"video {a.videos[video]!r}: expected frames of known size, since Label Studio's boxes are in "
            "percent of it"
        )
    regions = [_region(a, each, size, scores, times) for each in objects_of(a, video)]
    return {
        "meta": MADE_BY,
        "data": {
            "video": address + (a.sources[video] or a.videos[video]),
            FRAMES_KEY: FrameRuns(a.number[span].tolist()).runs,
        },
        "predictions": [{"model_version": "megavid", "result": regions}],
    }


def _region(
    a: Annotations,
    each: ObjectBoxes,
    size: tuple[float, float],
    scores: NDArray[np.float32] | None,
    times: NDArray[np.float64] | None,
) -> dict[str, Any]:
    name = f"box_{each.rows[0]}" if each.track == NO_TRACK else f"track_{each.track}_{each.label}"
    return {
        "id": name,
        "type": "videorectangle",
        "from_name": "box",
        "to_name": "video",
        "origin": "prediction",
        **({} if scores is None else {"score": float(scores[each.rows].mean())}),
        "value": {
            "labels": [a.classes[each.label]],
            "sequence": [
                {
                    "frame": frame + 1,
                    **_percent(a.boxes[row].tolist(), size),
                    "rotation": 0,
                    "enabled": not end,
                    **({} if times is None or np.isnan(times[row]) else {"time": float(times[row])}),
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
