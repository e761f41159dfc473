"""A training example: a key frame with its objects, and its reference frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Clip:
    """A key frame and its reference frames, on the detector's device.

    Attributes:
        images: (U, 3, h, w) network inputs (`VideoDetector.preprocess`): the key frame, then every other
            frame once.
        references: For each group of the training plan, indexes into `images`; an index may repeat. In the
            clip of a still image, every index is 0.
        boxes: (M, 4), boxes of the key frame's objects, half-open, input pixels.
        labels: (M,) int64, indexes into the class names.
        generator: CPU generator for the sampling of anchors and RoIs; None to take the first candidates.
    """

    images: Tensor
    references: Mapping[str, tuple[int, ...]]
    boxes: Tensor
    labels: Tensor
    generator: torch.Generator | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return (self.images.shape[2], self.images.shape[3])
