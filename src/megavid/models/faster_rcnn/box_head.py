"""The second stage of a detector: classes and boxes of RoIs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from megavid.core.config import Config
from megavid.models.faster_rcnn.rpn import MOST_BOXES

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Weights by which the head's box deltas dx, dy, dw and dh are scaled (Fast R-CNN)."""


class HeadConfig(Config):
    """RoI pooling, post-processing, and the sampling of RoIs in training.

    Attributes:
        pool_size: Side of a pooled RoI, cells.
        score_threshold: Score that detections exceed.
        nms_threshold: IoU above which the lower-scored of two boxes of a class is suppressed.
        max_detections: Maximum number of detections in a frame, over all classes (exceeded only for ties).
        batch_size_per_image: Maximum number of RoIs per image that the head is trained on.
    """

    renamed_keys: ClassVar[Mapping[str, str]] = {"sampled": "batch_size_per_image"}

    pool_size: int = Field(ge=1, le=64)
    score_threshold: float = Field(ge=0, lt=1)
    nms_threshold: float = Field(gt=0, le=1)
    max_detections: int = Field(ge=1, le=MOST_BOXES)
    batch_size_per_image: int = Field(default=128, ge=1, le=MOST_BOXES)


@dataclass(frozen=True)
class HeadOutput:
    """Output of the box head for the RoIs of one frame, before post-processing.

    Attributes:
        logits: (P, K + 1) class logits in float32, background first.
        deltas: (P, 4 * (K + 1)) box deltas in float32, four for each class.
        proposals: (P, 4) boxes that the deltas are relative to; half-open, input pixels.
        image_size: (height, width) of the network's input.
        valid: (P,) bool, False for padding; None if there is no padding.
    """

    logits: Tensor
    deltas: Tensor
    proposals: Tensor
    image_size: tuple[int, int]
    valid: Tensor | None = None

    def cpu(self) -> HeadOutput:
        """Return the output with its tensors on the CPU."""
        valid = None if self.valid is None else self.valid.cpu()
        return HeadOutput(self.logits.cpu(), self.deltas.cpu(), self.proposals.cpu(), self.image_size, valid)


class BoxHead(nn.Module):
    """Class scores and per-class box deltas from RoI features.

    Args:
        features: D, width of the RoI features.
        classes: K, number of classes without background.
    """

    def __init__(self, *, features: int, classes: int) -> None:
        super().__init__()
        self.scores = nn.Linear(features, classes + 1)
        self.deltas = nn.Linear(features, 4 * (classes + 1))

    def forward(
        self,
        features: Tensor,
        proposals: Tensor,
        image_size: tuple[int, int],
        valid: Tensor | None = None,
    ) -> HeadOutput:
        """Predict classes and boxes from RoI features (P, D) of `proposals` (P, 4)."""
        with torch.autocast(
            features.device.type, enabled=False
        ):  # in half precision, boxes would be some pixels off
            features = features.float()
            logits, deltas = self.scores(features), self.deltas(features)
        return HeadOutput(logits, deltas, proposals, image_size, valid)

    def adapt(self, state: Mapping[str, Tensor], classes: Mapping[int, int]) -> dict[str, Tensor]:
        """Return this head's state dict, with the rows of some classes taken from another head.

        Args:
            state: State dict of the other head. Tensors of another feature width are not used.
            classes: Maps indexes of this head's classes, background included, to those of the other head's.
        """
        adapted = {}
        for name, own in self.state_dict().items():
            other, rows = state[name], 4 if name.startswith("deltas") else 1
            adapted[name] = own.clone()
            if own.shape[1:] == other.shape[1:]:
                for ours, theirs in classes.items():
                    adapted[name][rows * ours : rows * (ours + 1)] = other[
                        rows * theirs : rows * (theirs + 1)
                    ]
        return adapted
