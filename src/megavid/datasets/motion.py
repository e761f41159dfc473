"""Compute the motion IoU of objects: how much an object's boxes overlap in neighboring frames.

Zhu et al., "Flow-Guided Feature Aggregation for Video Object Detection", ICCV 2017, section 5.1.

Shapes: M boxes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.matlab import read_cells
from megavid.core.iou import paired_iou
from megavid.datasets.table.annotations import NO_TRACK, Annotations

WINDOW = 10
"""Number of neighboring frames on each side."""

_LARGEST_IOU = 1 + 1e-6
"""Largest accepted motion IoU; a mean of rounded numbers may be slightly larger than 1."""


def motion_iou(annotations: Annotations) -> NDArray[np.float64]:
    """Compute the motion IoU of every object.

    The motion IoU of an object in a frame is the mean IoU of its box with the other boxes of its track in
    frames whose numbers differ by at most `WINDOW`. It is 1 if there are no such boxes. Fast objects have a
    low motion IoU.

    ImageNet VID's official values agree with this definition as far as they can be compared without the
    boxes. If an object's box does not overlap those in neighboring frames, the official value is 1e-10
    divided by the number of these frames, which is from 4 to 20, and 10 at the last frame of a video. So the
    mean includes neither the frame itself nor frames without the object. If the object is in no neighboring
    frame, the official value is 1. It is unknown whether the official IoU counts the last pixel of a box.

    Returns:
        (M,), from 0 to 1, NaN for boxes without a track.
    """
    a = annotations
    rows = np.flatnonzero(a.tracks != NO_TRACK)
    frames = a.box_frames[rows]
    order = np.lexsort((a.number[frames], a.tracks[rows], a.video[frames]))
    rows, frames = rows[order], frames[order]
    number, boxes = a.number[frames], a.boxes[rows]
    key = np.stack((a.video[frames], a.tracks[rows]), axis=1)
    track = np.concatenate(([0], (key[1:] != key[:-1]).any(axis=1).cumsum()))[: len(rows)]
    total, count = np.zeros(len(order)), np.zeros(len(order))
    for step in range(1, len(order)):
        near = (track[step:] == track[:-step]) & (number[step:] - number[:-step] <= WINDOW)
        if not near.any():
            break
        one = np.flatnonzero(near)
        two = one + step
        iou = paired_iou(boxes[one], boxes[two])
        for side in (one, two):  # no row is in `one` or in `two` twice, so += is correct
            total[side] += iou
            count[side] += 1
    mean = np.ones(len(order))
    np.divide(total, count, out=mean, where=count > 0)
    motion = np.full(len(a.boxes), np.nan)
    motion[rows] = mean
    return motion


def read_motion_mat(path: Path, annotations: Annotations) -> NDArray[np.float64]:
    """Read the official motion IoUs of ImageNet VID's validation videos.

    Args:
        path: `vid_groundtruth_motion_iou.mat`, which has a cell for each frame with a cell for each object.
        annotations: The data set, with the frames and objects of the file in the same order.

    Returns:
        (M,), the motion IoU of every object.

    Raises:
        InputError: The file is missing or has other content, or its number of frames, or of objects in a
            frame, differs from that of the data set.
    """
    frames = read_motion_cells(path)
    if len(frames) != len(annotations):
        raise InputError(f"{path}: has {len(frames)} frames, but the data set has {len(annotations)}")
    counts = np.array([len(values) for values in frames])
    different = np.flatnonzero(counts != np.diff(annotations.offsets))
    if len(different):
        frame = int(different[0])
        objects = int(np.diff(annotations.offsets)[frame])
        where = annotations.describe(frame)
        raise InputError(
            f"{path}: has {counts[frame]} objects in frame {frame + 1}, but {where} has {objects}"
        )
    return np.concatenate([np.zeros(0), *frames])


def read_motion_cells(path: Path) -> list[NDArray[np.float64]]:
    """Read the motion IoUs of the objects in each frame from an official file.

    Raises:
        InputError: The file is missing or has other content.
    """
    cells = read_cells(path, "motion_iou")
    values = np.array([value for cell in cells for value in cell])
    wrong = np.flatnonzero(~((values >= 0) & (values <= _LARGEST_IOU)))
    if len(wrong):
        raise InputError(f"{path}: expected motion IoUs from 0 to 1, got {values[wrong[0]]}")
    return np.split(values, np.cumsum([len(cell) for cell in cells])[:-1])
