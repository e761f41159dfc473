"""Faster R-CNN on every frame by itself (Ren et al., NeurIPS 2015): the baseline of all others."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from megavid.core.reference_plans import ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip, Losses
from megavid.models.base.detector import DetectorConfig, MethodConfig, RoIFeatures, VideoDetector, Window
from megavid.models.faster_rcnn.roi_head import Prediction


class SingleFrameConfig(MethodConfig):
    """Settings of `SingleFrame`."""

    name: Literal["single_frame"]


class SingleFrame(VideoDetector[RoIFeatures, None]):
    """Faster R-CNN with two fully-connected layers on RoIs pooled from a dilated conv5."""

    config_type = SingleFrameConfig

    def __init__(self, config: DetectorConfig[SingleFrameConfig]) -> None:
        super().__init__(config)
        self.fcs = self.fully_connected(2)

    @property
    def plan(self) -> ReferencePlan:
        """No frame but the key frame."""
        return ReferencePlan()

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """(B, 3, h, w) -> proposals and RoI features of each."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs)

    def initial_memory(self) -> None:
        """Nothing is remembered."""

    def detect(self, window: Window[RoIFeatures], memory: None) -> tuple[Prediction, None]:
        """Predictions for the key frame's proposals."""
        key = window.key
        return self.predictor(key.features, key.proposals, key.image_size), None

    @property
    def training_plan(self) -> TrainingPlan:
        """No frame but the key frame."""
        return TrainingPlan()

    def trunk_rows(self, clip: Clip) -> list[int]:
        """The key frame."""
        return [0]

    def losses(self, clip: Clip) -> Losses:
        """Of Faster R-CNN."""
        c4 = self.trunk_maps(clip)
        rpn, rois = self.sampled_rois(c4, clip)
        return self.all_losses(rpn, rois, self.pooled(c4, [rois.boxes], self.fcs), clip)
