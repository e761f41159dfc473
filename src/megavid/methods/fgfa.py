"""FGFA: flow-guided feature aggregation (Zhu et al., ICCV 2017).

Shapes: H x W pixels of the network's input, h x w cells of the trunk's map; E channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.sampling import ReferencePlan
from megavid.detection.detector import DetectorConfig, FrameFeatures, MethodConfig, VideoDetector, Window
from megavid.detection.roi_head import Prediction
from megavid.nn.flownet import FlowNet, flow_input
from megavid.nn.warp import warp


class FgfaConfig(MethodConfig):
    """Settings of `Fgfa`.

    Attributes:
        window: Frames before and after the key frame whose features are aggregated; 9 as published.
        flow_width: Channels of FlowNet's first layer; 64 as published.
        align_corners: How maps are sampled (`warp`); False for the published weights.
    """

    name: Literal["fgfa"]
    window: int = Field(ge=0)
    flow_width: int = Field(ge=1)
    align_corners: bool


@dataclass(frozen=True, eq=False)
class FgfaFeatures(FrameFeatures):
    """A frame's maps.

    Attributes:
        flow_input: (3, ceil(H / 2), ceil(W / 2)).
        c4: (C4, h, w), the trunk's map.
        embedding: (E, h, w), what tells whether two frames show the same in a place.
    """

    flow_input: Tensor
    c4: Tensor
    embedding: Tensor


class EmbeddingNet(nn.Module):
    """Three convolutions from a trunk's map to embeddings.

    Args:
        channels: C4 of the map; E is twice that.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 2, 1)
        self.conv2 = nn.Conv2d(channels // 2, channels // 2, 3, 1, 1)
        self.conv3 = nn.Conv2d(channels // 2, channels * 2, 1)

    def forward(self, c4: Tensor) -> Tensor:
        """(B, C4, h, w) -> (B, E, h, w)."""
        x = F.relu(self.conv2(F.relu(self.conv1(c4))))
        embedding: Tensor = self.conv3(x)
        return embedding


class Fgfa(VideoDetector[FgfaFeatures, None]):
    """Faster R-CNN on the window's maps, warped to the key frame and averaged by likeness."""

    config_type = FgfaConfig

    def __init__(self, config: DetectorConfig[FgfaConfig]) -> None:
        super().__init__(config)
        self.method = config.method
        self.fcs = self.fully_connected(2)
        self.flow = FlowNet(width=config.method.flow_width)
        self.embedding = EmbeddingNet(channels=self.backbone.c4_channels)

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame."""
        return ReferencePlan(past=self.method.window, future=self.method.window)

    def encode(self, images: Tensor) -> list[FgfaFeatures]:
        """(B, 3, H, W) -> maps of each."""
        image_size = (images.shape[2], images.shape[3])
        c4 = self.backbone.c4(images)
        maps = zip(flow_input(images), c4, self.embedding(c4), strict=True)
        # A copy each, lest one frame that is kept keep the whole batch.
        return [FgfaFeatures(image_size, *(x.clone() for x in frame)) for frame in maps]

    def initial_memory(self) -> None:
        """Nothing is remembered."""

    def detect(self, window: Window[FgfaFeatures], memory: None) -> tuple[Prediction, None]:
        """Predictions for the proposals on the key frame's aggregated map."""
        c4 = self._aggregate(window.key, window.local)
        [found] = self.roi_features(c4[None], window.key.image_size, self.fcs)
        return self.predictor(found.features, found.proposals, found.image_size), None

    def _aggregate(self, key: FgfaFeatures, local: Sequence[FgfaFeatures]) -> Tensor:
        """The average of the window's maps, warped to the key frame, (C4, h, w).

        Weights are a softmax over frames of the cosine between embeddings, place by place (equations 2
        and 3). A frame that stands in the window several times counts as often, but is warped once.
        """
        frames = list(dict.fromkeys([key, *local]))
        references = torch.stack([f.flow_input for f in frames])
        flow, _ = self.flow(key.flow_input[None], references)
        total, weights = torch.zeros_like(key.c4, dtype=torch.float32), torch.zeros_like(flow[0, 0])
        target = None
        for frame, flow_2hw in zip(frames, flow, strict=True):
            c4, embedding = (
                warp(map_[None], flow_2hw[None], align_corners=self.method.align_corners)[0].float()
                for map_ in (frame.c4, frame.embedding)
            )
            # The key frame, which comes first, is warped along the flow to itself, too.
            target = embedding if target is None else target
            likeness = F.cosine_similarity(embedding, target, dim=0)
            # Cosines are 1 at most, so their exponentials need no shift.
            weight = local.count(frame) * likeness.exp()
            total += weight * c4
            weights += weight
        return (total / weights).to(key.c4.dtype)
