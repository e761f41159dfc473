"""The second stage of a detector: class and box prediction, the choice of detections."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from megavid.core import box_ops
from megavid.core.config import Config
from megavid.core.detections import Detections
from megavid.models.faster_rcnn.rpn import MOST_BOXES

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""What the head's dx, dy, dw, dh are multiplied by (Fast R-CNN)."""


class HeadConfig(Config):
    """RoI pooling and the choice of detections.

    Attributes:
        pool_size: Cells a side of a pooled RoI.
        score_threshold: Lowest score of a detection, exclusive.
        nms_threshold: IoU above which the lower-scored box of a class goes.
        max_detections: Most detections a frame, over all classes (more only where scores tie).
        sampled: Proposals of an image that it is trained on, at most.
    """

    pool_size: int = Field(ge=1, le=64)
    score_threshold: float = Field(ge=0, lt=1)
    nms_threshold: float = Field(gt=0, le=1)
    max_detections: int = Field(ge=1, le=MOST_BOXES)
    sampled: int = Field(default=128, ge=1, le=MOST_BOXES)


@dataclass(frozen=True)
class Prediction:
    """What the head says about the RoIs of one frame, before the choice of detections.

    Attributes:
        logits: (P, K + 1) class logits in float32, background first.
        deltas: (P, 4 * (K + 1)) box deltas in float32, for each class.
        proposals: (P, 4) what the deltas are relative to; half-open, input pixels.
        image_size: (height, width) of the network's input.
    """

    logits: Tensor
    deltas: Tensor
    proposals: Tensor
    image_size: tuple[int, int]

    def cpu(self) -> Prediction:
        """The same on the CPU."""
        return Prediction(self.logits.cpu(), self.deltas.cpu(), self.proposals.cpu(), self.image_size)


class Predictor(nn.Module):
    """Class scores and per-class box deltas from RoI features.

    Args:
        features: D of the RoI features.
        classes: K, without background.
    """

    def __init__(self, *, features: int, classes: int) -> None:
        super().__init__()
        self.scores = nn.Linear(features, classes + 1)
        self.deltas = nn.Linear(features, 4 * (classes + 1))

    def forward(self, features: Tensor, proposals: Tensor, image_size: tuple[int, int]) -> Prediction:
        """Predictions for RoI features (P, D) of `proposals` (P, 4)."""
        with torch.autocast(features.device.type, enabled=False):  # half precision is some pixels off
            features = features.float()
            logits, deltas = self.scores(features), self.deltas(features)
        return Prediction(logits, deltas, proposals, image_size)


def choose_detections(prediction: Prediction, config: HeadConfig, class_names: tuple[str, ...]) -> Detections:
    """The detections of a frame, highest score first, half-open, in input pixels.

    Softmax; every class's boxes above the score threshold through non-maximum suppression; the best
    `max_detections` of all classes, ties at the last place included, as in the original.
    """
    scores_PK = prediction.logits.softmax(dim=1)[:, 1:]
    boxes_PK4 = box_ops.decode(prediction.deltas, prediction.proposals, BOX_WEIGHTS)[:, 1:]
    boxes_PK4 = box_ops.clip(boxes_PK4, *prediction.image_size)
    rows, labels = torch.where(scores_PK > config.score_threshold)
    candidates, scores = boxes_PK4[rows, labels], scores_PK[rows, labels]
    kept = box_ops.nms_per_class(candidates, scores, labels, config.nms_threshold)
    if len(kept) > config.max_detections:
        kept = kept[scores[kept] >= scores[kept[config.max_detections - 1]]]
    return Detections(candidates[kept], scores[kept], labels[kept], class_names)
