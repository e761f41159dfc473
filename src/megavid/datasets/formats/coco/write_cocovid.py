"""Write CocoVID annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import MADE_BY, json_by_megavid
from megavid.datasets.table.annotations import NO_TRACK, Annotations


def write_cocovid(annotations: Annotations, path: Path, *, scores: NDArray[np.float32] | None = None) -> None:
    """Write a CocoVID file. File names are relative to the data set's root.

    Two keys are added to those of CocoVID: `file_name` for videos that are files, and `listed`, which is
    false, for frames that are not for training. Since other programs expect every image to have a file name,
    the frames of a video file are named like images in a folder: `clip.mp4/000012.jpg` is frame 12 of
    clip.mp4.

    Args:
        annotations: The data set.
        path: The file to write; it appears whole or not at all.
        scores: (M,), scores of the boxes if they are predictions, which get the key `score`.

    Raises:
        InputError: The file cannot be written.
    """
    a = annotations
    videos = [
        {"id": i + 1, "name": name} | ({"file_name": source} if source else {})
        for i, (name, source) in enumerate(zip(a.videos, a.sources, strict=True))
    ]
    ids = a.image_ids if len(np.unique(a.image_ids)) == len(a) else np.arange(1, len(a) + 1)
    content = {
        "info": MADE_BY,
        "videos": videos,
        "images": list(_images(a, ids)),
        "categories": [{"id": i, "name": name} for i, name in zip(a.category_ids, a.classes, strict=True)],
        "annotations": list(_objects(a, ids, scores)),
    }
    with atomic_path(path, ours=json_by_megavid) as aside, aside.open("w") as file:
        json.dump(content, file)


def _images(a: Annotations, ids: NDArray[Any]) -> Iterator[dict[str, Any]]:
    columns = (ids, a.video, a.number, a.width, a.height, a.listed)
    for file, *row in zip(a.files.to_pylist(), *(column.tolist() for column in columns), strict=True):
        number, video, frame, width, height, listed = row
        source = a.sources[video]
        yield {
            "id": number,
            "video_id": video + 1,
            "frame_id": frame,
            "width": width,
            "height": height,
            "file_name": f"{source}/{frame:06d}.jpg" if source else file,
            **({} if listed else {"listed": False}),
        }


def _objects(
    a: Annotations, ids: NDArray[Any], scores: NDArray[np.float32] | None
) -> Iterator[dict[str, Any]]:
    corners = a.boxes.astype(np.float64)
    sides = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    rows = zip(
        ids[a.box_frames].tolist(),
        (a.video[a.box_frames] + 1).tolist(),
        a.labels.tolist(),
        a.tracks.tolist(),
        sides.tolist(),
        a.occluded.tolist(),
        a.generated.tolist(),
        a.difficult.tolist(),
        a.crowds.tolist(),
        a.object_areas.tolist(),
        strict=True,
    )
    for i, (image, video, label, track, box, occluded, generated, difficult, crowd, area) in enumerate(
        rows, 1
    ):
        yield {
            "id": i,
            "image_id": image,
            "video_id": video,
            "category_id": a.category_ids[label],
            **({} if track == NO_TRACK else {"instance_id": track}),
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
            "occluded": occluded,
            "generated": generated,
            "ignore": difficult,
            **({} if scores is None else {"score": float(scores[i - 1])}),
        }
