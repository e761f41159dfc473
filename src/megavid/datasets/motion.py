"""How fast objects move, by how much they overlap themselves in the frames around.

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
"""Frames to either side."""

_LARGEST_IOU = 1 + 1e-6
"""Sums of rounded numbers may be a little more than 1."""


def motion_iou(annotations: Annotations) -> NDArray[np.float64]:
    """The motion IoU of every object, (M,), in [0, 1]: low is fast.

    It is the mean IoU with the same track's other boxes in frames whose numbers are at most `WINDOW` away; 1
    if there are none. NaN without a track.

    So are ImageNet VID's official values, as far as they tell without their boxes. Where an object never
    overlaps itself they are 1e-10 over the number of other frames that have it, from 4 to 20 (10 at a video's
    last frame), so neither the object itself nor frames without it are counted. The one object that is
    sure to be alone in its window has 1. Whether the last pixel counts in an IoU cannot be told.
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
        for side in (one, two):  # each is there once
            total[side] += iou
            count[side] += 1
    mean = np.ones(len(order))
    np.divide(total, count, out=mean, where=count > 0)
    motion = np.full(len(a.boxes), np.nan)
    motion[rows] = mean
    return motion


def read_motion_mat(path: Path, annotations: Annotations) -> NDArray[np.float64]:
    """The motion IoU of every object of ImageNet VID's validation videos, (M,), as officially published.

    Args:
        path: `vid_groundtruth_motion_iou.mat`: a cell for each frame, and in it one for each object.
        annotations: The same frames and objects in the same order.

    Raises:
        InputError: The file is missing or something else, or is of other frames or objects.
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
    """The values of each frame of an official file, none for a frame without objects.

    Raises:
        InputError: The file is missing or something else.
    """
    cells = read_cells(path, "motion_iou")
    values = np.array([value for cell in cells for value in cell])
    wrong = np.flatnonzero(~((values >= 0) & (values <= _LARGEST_IOU)))
    if len(wrong):
        raise InputError(f"{path}: expected motion IoUs from 0 to 1, got {values[wrong[0]]}")
    return np.split(values, np.cumsum([len(cell) for cell in cells])[:-1])
