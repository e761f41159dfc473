"""What a detector is trained on: a key frame with its objects, and the frames that it may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Clip:
    """A key frame and its reference frames.

    Attributes:
        images: (U, 3, H, W) network inputs: the key frame first, then every other frame once.
        references: For each group of the method's training plan the frames of `images` that it names; one
            may stand there several times. A still image has only itself to look at.
        boxes: (M, 4) the key frame's objects, half-open, input pixels.
        labels: (M,) int64, from 0.
        generator: Of the choice of anchors and proposals, on the CPU; None takes the first ones.
        maps: The trunk's maps (N, C4, h, w) of those frames that the method has go through it, where they
            are computed already.
    """

    images: Tensor
    references: Mapping[str, tuple[int, ...]]
    boxes: Tensor
    labels: Tensor
    generator: torch.Generator | None = None
    maps: Tensor | None = None

    def to(self, device: torch.device) -> Clip:
        """The same on a device; copied while other work goes on, where the clip is in pinned memory."""
        images, boxes, labels = (
            t.to(device, non_blocking=True) for t in (self.images, self.boxes, self.labels)
        )
        return replace(self, images=images, boxes=boxes, labels=labels)

    def pin_memory(self) -> Clip:
        """The same in pinned memory."""
        images, boxes, labels = (t.pin_memory() for t in (self.images, self.boxes, self.labels))
        return replace(self, images=images, boxes=boxes, labels=labels)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return (self.images.shape[2], self.images.shape[3])


@dataclass(frozen=True, eq=False)
class Losses:
    """What training makes smaller: their sum. Scalars.

    Attributes:
        objectness: Of the RPN: object or background (binary cross-entropy).
        proposals: Of the RPN: boxes (smooth L1).
        classes: Of the head: cross-entropy.
        boxes: Of the head: boxes (smooth L1).
    """

    objectness: Tensor
    proposals: Tensor
    classes: Tensor
    boxes: Tensor

    @property
    def total(self) -> Tensor:
        """What the gradient is taken of."""
        return self.objectness + self.proposals + self.classes + self.boxes
