"""Faster R-CNN on every frame by itself (Ren et al., NeurIPS 2015): the baseline of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.sampling import ReferencePlan
from megavid.detection.detector import DetectorConfig, FrameFeatures, MethodConfig, VideoDetector, Window
from megavid.detection.roi_head import Prediction


class SingleFrameConfig(MethodConfig):
    """Settings of `SingleFrame`."""

    name: Literal["single_frame"]


@dataclass(frozen=True, eq=False)
class SingleFrameFeatures(FrameFeatures):
    """A frame's proposals and their features.

    Attributes:
        proposals: (P, 4), half-open, input pixels.
        features: (P, D).
    """

    proposals: Tensor
    features: Tensor


class SingleFrame(VideoDetector[SingleFrameFeatures, None]):
    """Faster R-CNN with two fully-connected layers on RoIs pooled from a dilated conv5."""

    config_type = SingleFrameConfig

    def __init__(self, config: DetectorConfig[SingleFrameConfig]) -> None:
        super().__init__(config)
        hidden = config.method.hidden
        self.fcs = nn.ModuleList([nn.Linear(self.pooled_features, hidden), nn.Linear(hidden, hidden)])

    @property
    def plan(self) -> ReferencePlan:
        """No frame but the key frame."""
        return ReferencePlan()

    def encode(self, images: Tensor) -> list[SingleFrameFeatures]:
        """(B, 3, h, w) -> proposals and RoI features of each."""
        image_size = (images.shape[2], images.shape[3])
        proposals, x = self.propose(self.backbone.c4(images), image_size)
        for fc in self.fcs:
            x = F.relu(fc(x))
        features = x.split([len(p.boxes) for p in proposals])
        # A copy each, lest one frame that is kept keep the whole batch.
        return [
            SingleFrameFeatures(image_size, p.boxes, f.clone())
            for p, f in zip(proposals, features, strict=True)
        ]

    def initial_memory(self) -> None:
        """Nothing is remembered."""

    def detect(self, window: Window[SingleFrameFeatures], memory: None) -> tuple[Prediction, None]:
        """Predictions for the key frame's proposals."""
        key = window.key
        return self.predictor(key.features, key.proposals, key.image_size), None
