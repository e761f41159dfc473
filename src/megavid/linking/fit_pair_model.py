"""Fit the pair model of REPP on the tracks of annotated videos.

Source: Sabater et al., "Robust and efficient post-processing for video object detection", IROS 2020.

Shapes: N boxes, T triplets, F features (`pair_model.pair_features`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.matching import IOU_THRESHOLD, pair_up
from megavid.linking.pair_model import PairModel, pair_features

TRIPLETS, VALIDATION_TRIPLETS = 50_000, 8_000
"""Number of triplets to fit on, and of triplets to measure the accuracy on."""

LARGEST_DISTANCE = 25
"""Boxes of a positive pair are fewer frames apart than this."""

_MOVE_ON = 0.1
"""Chance of taking a negative box from farther away although there is one nearby."""


@dataclass(frozen=True, eq=False)
class TrackedBoxes:
    """Boxes of known objects.

    Attributes:
        boxes: (N, 4), half-open x1 y1 x2 y2.
        video: int (N,), number of the video.
        frame: int (N,), number of the frame in its video.
        track: int (N,), id of the object in its video.
    """

    boxes: NDArray[np.float64]
    video: NDArray[np.int64]
    frame: NDArray[np.int64]
    track: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class FittedPairModel:
    """A fitted model.

    Attributes:
        model: The model.
        accuracy: Share of the validation pairs that the model classifies correctly at a probability of 0.5.
        boxes: Number of boxes of known objects.
    """

    model: PairModel
    accuracy: float
    boxes: int


def match_tracks(found: Boxes, annotations: Annotations) -> TrackedBoxes:
    """Find the detection of each annotated object that has a track: the one with the highest IoU.

    Objects that no detection overlaps by an IoU of 0.5 or more are left out. Classes play no part.

    Args:
        found: Detections in the frames of the data set.
        annotations: The data set.
    """
    a = annotations
    truth = Boxes(a.box_frames, a.boxes, a.labels)
    detections, objects, iou = pair_up(found, truth, num_frames=len(a))
    order = np.lexsort((detections, -iou, objects))
    order = order[(iou[order] >= IOU_THRESHOLD) & (a.tracks[objects[order]] != NO_TRACK)]
    objects, first = np.unique(objects[order], return_index=True)
    frame = truth.frame[objects]
    return TrackedBoxes(
        boxes=found.xyxy[detections[order][first]].astype(np.float64),
        video=a.video[frame].astype(np.int64),
        frame=a.number[frame],
        track=a.tracks[objects],
    )


def fit_pair_model(
    sources: Sequence[TrackedBoxes],
    *,
    triplets: int = TRIPLETS,
    validation: int = VALIDATION_TRIPLETS,
    seed: int = 0,
) -> FittedPairModel:
    """Fit a logistic regression (L2, C = 1) on triplets of boxes.

    Args:
        sources: Boxes of known objects in one or more data sets, each of which gives as many triplets.
        triplets: Number of triplets to fit on.
        validation: Number of triplets to measure the accuracy on.
        seed: Seed of the draws.

    Raises:
        InputError: scikit-learn is not installed, or a data set has no triplet (see `draw_triplets`).
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise InputError("--fit: needs scikit-learn: pip install scikit-learn") from error
    rng = np.random.default_rng(seed)
    (features, same), held_out = (
        _pairs([_draw_features(source, count // len(sources), rng) for source in sources])
        for count in (triplets, validation)
    )
    fitted = LogisticRegression(C=1.0).fit(features, same)
    weights = dict(zip(("iou", "width", "height", "distance"), fitted.coef_[0].tolist(), strict=True))
    return FittedPairModel(
        model=PairModel(intercept=float(fitted.intercept_[0]), **weights),
        accuracy=float(fitted.score(*held_out)),
        boxes=sum(map(len, sources)),
    )


def _draw_features(found: TrackedBoxes, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the features of the positive and the negative pair of each triplet, (2, T, F)."""
    boxes = found.boxes[draw_triplets(found, count=count, rng=rng)]
    return np.stack([pair_features(boxes[:, 0], boxes[:, other]) for other in (1, 2)])


def _pairs(features: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the features of all pairs, (2 T, F), and whether each is of the same object, (2 T,)."""
    pairs = np.concatenate(features, axis=1)
    return pairs.reshape(-1, pairs.shape[-1]), np.repeat((1, 0), pairs.shape[1])


def draw_triplets(found: TrackedBoxes, *, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw triplets of an anchor, a box of the same object and a box of another one.

    The first two are less than `LARGEST_DISTANCE` frames apart. The third is in the frame of the second. If
    there is none, or with a chance of 10 %, it is in any frame of the video instead, and if there is none
    again, or by the same chance, in any video.

    Args:
        found: Boxes of known objects, N in all.
        count: Number of triplets, T.
        rng: Random generator.

    Returns:
        (T, 3), rows of the three boxes.

    Raises:
        InputError: There are fewer than two objects, or none is in two frames that are near each other.
    """
    objects = _group(found.video, found.track)
    of_frame, of_video = _group(found.video, found.frame), _group(found.video)
    near = [_near(found, objects.rows_like(row), row) for row in range(len(found))]
    anchors = [row for row, rows in enumerate(near) if len(rows)]
    if not anchors or objects.count < 2:
        raise InputError(
            "--fit: expected detections of two objects or more, and of one of them in several frames, "
            f"got {len(found)} boxes of {objects.count} objects"
        )
    triplets = np.empty((count, 3), np.int64)
    for triplet, anchor in zip(triplets, rng.choice(anchors, count).tolist(), strict=True):
        positive = int(rng.choice(near[anchor]))
        around = (of_frame.rows_like(positive), of_video.rows_like(positive))
        triplet[:] = anchor, positive, _draw_other(objects.number, anchor, around, rng)
    return triplets


@dataclass(frozen=True, eq=False)
class _Groups:
    """Rows that are divided into groups.

    Attributes:
        number: (N,), number of each row's group.
        members: The rows of each group, ascending.
    """

    number: NDArray[np.int64]
    members: tuple[NDArray[np.int64], ...]

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(self.members) if len(self.number) else 0

    def rows_like(self, row: int) -> NDArray[np.int64]:
        """Return all rows in the group of a row."""
        rows: NDArray[np.int64] = self.members[self.number[row]]
        return rows


def _group(*columns: NDArray[np.int64]) -> _Groups:
    """Group rows with equal values in all columns."""
    _, number = np.unique(np.stack(columns), axis=1, return_inverse=True)
    number = number.reshape(-1)
    order = np.argsort(number, kind="stable")
    return _Groups(number, tuple(np.split(order, np.flatnonzero(np.diff(number[order])) + 1)))


def _near(found: TrackedBoxes, rows: NDArray[np.int64], row: int) -> NDArray[np.int64]:
    """Return those of `rows` that are in other frames than `row`, but fewer than `LARGEST_DISTANCE` away."""
    distance = np.abs(found.frame[rows] - found.frame[row])
    near: NDArray[np.int64] = rows[(distance > 0) & (distance < LARGEST_DISTANCE)]
    return near


def _draw_other(
    objects: NDArray[np.int64], row: int, around: Sequence[NDArray[np.int64]], rng: np.random.Generator
) -> int:
    """Draw a box of another object than that of `row` from `around`, the nearest boxes first."""
    for rows in around:
        others = rows[objects[rows] != objects[row]]
        if len(others) and rng.random() >= _MOVE_ON:
            return int(rng.choice(others))
    return int(rng.choice(np.flatnonzero(objects != objects[row])))
