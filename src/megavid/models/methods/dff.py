"""DFF: deep feature flow (Zhu et al., CVPR 2017).

The trunk runs on every n-th frame only, and its map is warped along optical flow to the following frames. In
this file, as in the paper, a "key frame" is a frame that the trunk runs on. The frame whose objects are
detected, which the other files call the key frame, is called the current frame here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from megavid.core.profiling import profile_range
from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip
from megavid.models.base.features import FrameFeatures, Window
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig, RoIMethodConfig
from megavid.models.layers.flownet import MOST_FLOW_CHANNELS, FlowNet, flow_input
from megavid.models.layers.host_values import take_rows


class DffConfig(RoIMethodConfig):
    """Settings of `Dff`.

    Attributes:
        key_interval: Number of frames from one key frame to the next; 10 as published.
        flow_width: Number of channels of FlowNet's first layer; 64 as published.
        align_corners: Sampling convention (`layers.warp.warp`); False for the published weights.
    """

    name: Literal["dff"]
    key_interval: int = Field(ge=1, le=1_000_000)
    flow_width: int = Field(ge=1, le=MOST_FLOW_CHANNELS)
    align_corners: bool


@dataclass(frozen=True, eq=False)
class DffFeatures(FrameFeatures):
    """The network input of a frame, which goes through the trunk only if the frame is a key frame.

    Attributes:
        image: (3, H, W).
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


class Dff(FasterRCNN[DffFeatures, DffMemory | None]):
    """Faster R-CNN on a map that is computed on key frames and warped to the others."""

    config_type = FasterRCNNConfig[DffConfig]
    knows_padding = True

    def __init__(self, config: FasterRCNNConfig[DffConfig]) -> None:
        super().__init__(config)
        self.method = config.method
        self.fcs = self.fully_connected(2)
        self.flow = FlowNet(width=config.method.flow_width)
        self.scale = nn.Conv2d(self.flow.out_channels, self.backbone.c4_channels, 1, bias=False)
        nn.init.zeros_(self.scale.weight)

    def initialize(self) -> None:
        """Give all layers new random weights; the scale of warped maps begins at 1."""
        super().initialize()
        nn.init.zeros_(self.scale.weight)

    def before_proposals(self) -> list[nn.Module]:
        """Return trunk, RPN and the flow network."""
        return [*super().before_proposals(), self.flow]

    @property
    def plan(self) -> ReferencePlan:
        """The current frame only; the key frame, at most key_interval - 1 frames back, is in the memory."""
        return ReferencePlan(reach=self.method.key_interval - 1)

    def encode(self, images: Tensor) -> list[DffFeatures]:
        """Return a copy of each image of (B, 3, H, W) as its features."""
        image_size = (images.shape[2], images.shape[3])
        return [DffFeatures(image_size, image.clone()) for image in images]

    def initial_memory(self) -> None:
        """Return None: before the first frame there is no key frame."""

    def fixed_inputs(
        self, window: Window[DffFeatures], memory: DffMemory | None
    ) -> tuple[Window[DffFeatures], DffMemory | None]:
        """Return inputs of `predict` that differ only by whether the frame is a key frame."""
        is_key = memory is None or self._begins_interval(window)
        window, memory = super().fixed_inputs(window, None if is_key else memory)
        # In an interval of one frame, every frame is a key frame.
        return replace(window, step=0 if is_key else 1, advance=1), memory

    def predict(self, window: Window[DffFeatures], memory: DffMemory | None) -> tuple[HeadOutput, DffMemory]:
        """Predict on the map that is warped from the last key frame."""
        image = window.key.image[None]
        current = flow_input(image)
        if memory is None or self._begins_interval(window):
            c4 = self.backbone.c4(image)
            memory = DffMemory(current, c4.contiguous(memory_format=self.kernels.memory_format))
        # As in the original, even the map of a key frame is warped, along the flow from this frame to itself.
        c4 = self._propagate(memory, current)
        [found] = self.roi_features(c4, window.key.image_size, self.fcs)
        return self.predictor(found.features, found.proposals, found.image_size, found.valid), memory

    def _begins_interval(self, window: Window[DffFeatures]) -> bool:
        """Return whether a frame is the first one of its interval that was not lost."""
        interval = self.method.key_interval
        return window.step // interval != (window.step - window.advance) // interval

    def _propagate(self, key: DffMemory, current: Tensor) -> Tensor:
        """Warp the key frame's map to the current frame, (1, C4, h, w) (section 3, equation 1)."""
        with profile_range("flow"):
            flow, flow_features = self.flow(current, key.flow_input)
        with profile_range("warping"):
            c4 = self.kernels.warp(key.c4, flow, align_corners=self.method.align_corners)
            scaled: Tensor = c4 * (self.scale(flow_features) + 1)
        return scaled.contiguous()

    @property
    def training_plan(self) -> TrainingPlan:
        """One reference frame, drawn from the frames that could be the last key frame."""
        group = ReferenceGroup(name="key", count=1, low=1 - self.method.key_interval, high=0)
        return TrainingPlan((group,))

    def trunk_rows(self, clip: Clip) -> list[int]:
        """Return the row of the reference frame, which is the key frame in the sense of this file."""
        return list(clip.references["key"])

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses of Faster R-CNN on the map that is warped from the key frame."""
        current = flow_input(clip.images[:1])
        image = take_rows(clip.images, self.trunk_rows(clip))
        c4 = self._propagate(DffMemory(flow_input(image), c4), current)
        rpn, rois = self.sampled_rois(c4, clip)
        return self.all_losses(rpn, rois, self.pooled(c4, [rois.boxes], self.fcs), clip)
