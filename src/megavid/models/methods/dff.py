"""DFF: deep feature flow (Zhu et al., CVPR 2017).

The trunk runs on key frames of the video only; what it finds there moves along the optical flow to the
frames after. In this file "key frame" is the paper's, not the frame to detect, which is the current one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from megavid.core.profiling import stage
from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip, Losses
from megavid.models.base.detector import DetectorConfig, FrameFeatures, MethodConfig, VideoDetector, Window
from megavid.models.faster_rcnn.roi_head import Prediction
from megavid.models.layers.flownet import MOST_FLOW_CHANNELS, FlowNet, flow_input
from megavid.models.layers.warp import warp, warp_cells


class DffConfig(MethodConfig):
    """Settings of `Dff`.

    Attributes:
        key_interval: Every how many frames the trunk runs; 10 as published.
        flow_width: Channels of FlowNet's first layer; 64 as published.
        align_corners: How maps are sampled (`warp`); False for the published weights.
    """

    name: Literal["dff"]
    key_interval: int = Field(ge=1, le=1_000_000)
    flow_width: int = Field(ge=1, le=MOST_FLOW_CHANNELS)
    align_corners: bool


@dataclass(frozen=True, eq=False)
class DffFeatures(FrameFeatures):
    """A frame as it is: whether the trunk has to see it is not known yet.

    Attributes:
        image: (3, H, W), the network's input.
    """

    image: Tensor


@dataclass(frozen=True, eq=False)
class DffMemory:
    """The last key frame.

    Attributes:
        flow_input: (1, 3, ceil(H / 2), ceil(W / 2)).
        c4: (1, C4, h, w), the trunk's map.
    """

    flow_input: Tensor
    c4: Tensor


class Dff(VideoDetector[DffFeatures, DffMemory | None]):
    """Faster R-CNN on a map that is computed on key frames and warped to the others."""

    config_type = DffConfig

    def __init__(self, config: DetectorConfig[DffConfig]) -> None:
        super().__init__(config)
        self.method = config.method
        self.fcs = self.fully_connected(2)
        self.flow = FlowNet(width=config.method.flow_width)
        self.scale = nn.Conv2d(self.flow.out_channels, self.backbone.c4_channels, 1, bias=False)
        nn.init.zeros_(self.scale.weight)

    def initialise(self) -> None:
        """As any detector; maps begin as they come from the key frame."""
        super().initialise()
        nn.init.zeros_(self.scale.weight)

    def before_proposals(self) -> list[nn.Module]:
        """Those of any detector, and its own."""
        return [*super().before_proposals(), self.flow]

    @property
    def plan(self) -> ReferencePlan:
        """No frame but the current one; the key frame is remembered."""
        return ReferencePlan()

    def encode(self, images: Tensor) -> list[DffFeatures]:
        """(B, 3, H, W) -> each by itself."""
        image_size = (images.shape[2], images.shape[3])
        return [DffFeatures(image_size, image.clone()) for image in images]

    def initial_memory(self) -> None:
        """No key frame."""

    def detect(self, window: Window[DffFeatures], memory: DffMemory | None) -> tuple[Prediction, DffMemory]:
        """Predictions for the current frame's proposals, and the key frame for the next."""
        image = window.key.image[None]
        current = flow_input(image)
        if memory is None or window.step % self.method.key_interval == 0:
            c4 = self.backbone.c4(image)
            layout = torch.channels_last if self.sums_cells else torch.contiguous_format
            memory = DffMemory(current, c4.contiguous(memory_format=layout))
        # The original warps a key frame, too, along the flow to itself.
        c4 = self._propagate(memory, current)
        [found] = self.roi_features(c4, window.key.image_size, self.fcs)
        return self.predictor(found.features, found.proposals, found.image_size), memory

    def _propagate(self, key: DffMemory, current: Tensor) -> Tensor:
        """The key frame's map as the current frame's, (1, C4, h, w) (section 3, equation 1)."""
        with stage("flow"):
            flow, flow_features = self.flow(current, key.flow_input)
        with stage("warping"):
            move = warp_cells if self.sums_cells else warp
            c4 = move(key.c4, flow, align_corners=self.method.align_corners)
            scaled: Tensor = c4 * (self.scale(flow_features) + 1)
        return scaled.contiguous()

    @property
    def training_plan(self) -> TrainingPlan:
        """One of the frames that the last key frame can be."""
        group = ReferenceGroup(name="key", count=1, low=1 - self.method.key_interval, high=0)
        return TrainingPlan((group,))

    def trunk_rows(self, clip: Clip) -> list[int]:
        """The frame that is propagated from."""
        return list(clip.references["key"])

    def losses(self, clip: Clip) -> Losses:
        """Of Faster R-CNN on the map that comes from the key frame, which alone the trunk sees."""
        current = flow_input(clip.images[:1])
        image = clip.images[self.trunk_rows(clip)]
        c4 = self._propagate(DffMemory(flow_input(image), self.trunk_maps(clip)), current)
        rpn, rois = self.sampled_rois(c4, clip)
        return self.all_losses(rpn, rois, self.pooled(c4, [rois.boxes], self.fcs), clip)
