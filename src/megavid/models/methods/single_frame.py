"""Faster R-CNN on every frame by itself (Ren et al., NeurIPS 2015): the baseline of the other methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from megavid.core.reference_plans import ReferencePlan
from megavid.models.base.clip import Clip
from megavid.models.base.requests import KeyFrames
from megavid.models.faster_rcnn.batched_faster_rcnn import BatchedFasterRCNN
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig, RoIMethodConfig


class SingleFrameConfig(RoIMethodConfig):
    """Settings of `SingleFrame`."""

    name: Literal["single_frame"]


class SingleFrame(BatchedFasterRCNN[RoIFeatures, None]):
    """Faster R-CNN with two fully connected layers on RoIs pooled from a dilated conv5."""

    config_type = FasterRCNNConfig[SingleFrameConfig]
    knows_padding = True

    def __init__(self, config: FasterRCNNConfig[SingleFrameConfig]) -> None:
        super().__init__(config)
        self.fcs = self.fully_connected(2)

    @property
    def plan(self) -> ReferencePlan:
        """The key frame only."""
        return ReferencePlan(reach=0)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """Compute proposals and RoI features of each image (B, 3, h, w)."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs)

    def initial_memory(self) -> None:
        """Return None: this method has no memory."""

    def predict_batch(
        self, requests: Sequence[KeyFrames[RoIFeatures, None]]
    ) -> tuple[list[HeadOutput], list[None]]:
        """Predict from the key frames' RoI features."""
        keys = [window.key for request in requests for window in request.windows]
        return self.head_outputs([key.features for key in keys], keys), [None] * len(requests)

    def trunk_rows(self, clip: Clip) -> list[int]:
        """Return the row of the key frame."""
        return [0]

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses of Faster R-CNN."""
        rpn, rois = self.sampled_rois(c4, clip)
        return self.all_losses(rpn, rois, self.pooled(c4, [rois.boxes], self.fcs), clip)
