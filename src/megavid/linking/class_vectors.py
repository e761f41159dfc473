"""Boxes of a frame with a score for each class, which linking compares from frame to frame.

Shapes: N detections, B boxes, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megavid.core.detections import Detections
from megavid.core.iou import paired_iou

SAME_BOX_IOU = 0.7
"""Detections of different classes whose boxes have at least this IoU are taken for one box."""

MAX_DETECTIONS = 300
"""Largest number of detections of a frame, as megavid's detectors have; with 80 classes, 100 boxes would
otherwise give 8,000."""


@dataclass(frozen=True, eq=False)
class ScoredBoxes:
    """Boxes of one frame with their class vectors.

    Attributes:
        boxes: float64 (B, 4), half-open x1 y1 x2 y2, in pixels of the frame.
        vectors: float32 (B, K), score of each box for each class.
    """

    boxes: NDArray[np.float64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: NDArray[Any]) -> ScoredBoxes:
        """Return some of the boxes, chosen by row or by a mask."""
        return ScoredBoxes(self.boxes[rows], self.vectors[rows])


def to_scored_boxes(detections: Detections, *, min_score: float, suppression_iou: float) -> ScoredBoxes:
    """Return the boxes of detections with their class vectors.

    If detections have `class_scores`, these are the vectors, and detections with equal boxes are one box.
    Otherwise a detection has the score of one class, and suppression within each class has left a box of an
    object for each class that it may have. Such detections are one box (see `join_classes`), and classes
    that none of them has get 0: sharing out the rest of the probability would add as much to each class, and
    detectors with independent scores have no rest.

    Args:
        detections: Detections of a frame.
        min_score: Detections with a score up to this are left out.
        suppression_iou: See `suppress_within_classes`. Libraries that give the scores of all classes have
            often left boxes of an object that are each the best one for another class.
    """
    detections = detections[detections.scores > min_score].cpu()
    boxes = detections.boxes.float().contiguous().numpy()
    _, first, box = np.unique(boxes.view("V16"), return_index=True, return_inverse=True)
    box = box.reshape(-1)
    if detections.class_scores is not None:
        vectors = detections.class_scores.float().numpy()[first]
        found = ScoredBoxes(boxes[first].astype(np.float64), vectors)
        return suppress_within_classes(found, iou=suppression_iou)
    labels = detections.labels.numpy()
    classes = len(detections.class_names) or int(labels.max(initial=-1)) + 1
    vectors = np.zeros((len(first), classes), np.float32)
    np.maximum.at(vectors, (box, labels), detections.scores.float().numpy())
    found = ScoredBoxes(boxes[first].astype(np.float64), vectors)
    return join_classes(suppress_within_classes(found, iou=suppression_iou))


def suppress_within_classes(found: ScoredBoxes, *, iou: float) -> ScoredBoxes:
    """Apply non-maximum suppression within each class: a suppressed box gets the score 0 for the class.

    Boxes without a score for any class are dropped.

    Args:
        found: B boxes.
        iou: A box is suppressed if its IoU with a box that has a higher score for the class, and is not
            suppressed itself, is above this value; 1 suppresses none. Of equal scores, the first is higher.
    """
    near = paired_iou(found.boxes[:, None], found.boxes) > iou
    np.fill_diagonal(near, False)
    box, rival = np.nonzero(near)
    if not len(box):
        return found
    scores = found.vectors
    beats = (scores[rival] > scores[box]) | ((scores[rival] == scores[box]) & (rival < box)[:, None])
    boxes, starts = np.unique(box, return_index=True)
    kept, before = np.ones(scores.shape, np.bool_), np.zeros(scores.shape, np.bool_)
    while (kept != before).any():  # after n rounds, the n best boxes of each class are decided
        before = kept
        kept = np.ones_like(before)
        kept[boxes] = ~np.logical_or.reduceat(beats & before[rival], starts, axis=0)
    vectors = scores * kept
    return ScoredBoxes(found.boxes, vectors).take(np.flatnonzero(vectors.any(axis=1)))


def join_classes(found: ScoredBoxes) -> ScoredBoxes:
    """Join boxes of different classes that stand on one object.

    By falling score, a box that is in no group yet starts one, to which other boxes with an IoU of at least
    `SAME_BOX_IOU` are added if they have scores for other classes than those in the group. The box of a group
    is that of its first member.

    Args:
        found: B boxes, with 0 for each class that a box was not detected as.
    """
    found = found.take(np.argsort(-found.vectors.max(axis=1, initial=0), kind="stable"))
    near = np.triu(paired_iou(found.boxes[:, None], found.boxes) >= SAME_BOX_IOU, k=1)
    if not near.any():
        return found
    classes = [int.from_bytes(bits) for bits in np.packbits(found.vectors > 0, axis=1)]
    group = list(range(len(found)))
    for row, other in np.argwhere(near).tolist():  # by row, so each row is in its group before it is a seed
        if group[row] == row and group[other] == other and not classes[row] & classes[other]:
            group[other] = row
            classes[row] |= classes[other]
    vectors = np.zeros_like(found.vectors)
    np.add.at(vectors, group, found.vectors)
    seeds = np.array(group) == np.arange(len(group))
    return ScoredBoxes(found.boxes[seeds], vectors[seeds])


def class_agreement(first: ScoredBoxes, second: ScoredBoxes) -> NDArray[np.float32]:
    """Compute the inner product of class vectors, (N, M), of N boxes of one frame and M boxes of another.

    If class names are unknown, frames may have different numbers of classes; missing ones have the score 0.
    """
    classes = min(first.vectors.shape[1], second.vectors.shape[1])
    product: NDArray[np.float32] = first.vectors[:, :classes] @ second.vectors[:, :classes].T
    return product


def to_detections(
    found: ScoredBoxes,
    like: Detections,
    *,
    tracks: NDArray[np.int64],
    interpolated: NDArray[np.bool_] | None,
    min_score: float,
) -> Detections:
    """Return a detection for each class of each box, the `MAX_DETECTIONS` best ones by falling score.

    Args:
        found: B boxes.
        like: Detections of the frame before linking, which tell the names of the classes and whether the
            result has `class_scores`.
        tracks: (B,), id of each box's tubelet; all detections of a box have it.
        interpolated: (B,), whether a box fills a gap; None if no gaps were filled.
        min_score: Lowest score of a detection.
    """
    rows, labels = np.nonzero((found.vectors >= min_score) & (found.vectors > 0))
    scores = found.vectors[rows, labels]
    if len(scores) > MAX_DETECTIONS:  # there may be thousands, and only the best ones need to be sorted
        best = scores >= np.partition(scores, -MAX_DETECTIONS)[-MAX_DETECTIONS]
        rows, labels, scores = rows[best], labels[best], scores[best]
    order = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
    rows = rows[order]
    return Detections(
        boxes=torch.from_numpy(found.boxes[rows].astype(np.float32)),
        scores=torch.from_numpy(scores[order]),
        labels=torch.from_numpy(labels[order]),
        class_names=like.class_names,
        tracks=torch.from_numpy(tracks[rows]),
        class_scores=None if like.class_scores is None else torch.from_numpy(found.vectors[rows]),
        interpolated=None if interpolated is None else torch.from_numpy(interpolated[rows]),
    )
