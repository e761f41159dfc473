"""FGFA: flow-guided feature aggregation (Zhu et al., ICCV 2017).

Shapes: H x W pixels of the network's input, h x w cells of the trunk's map; E channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.profiling import stage
from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip, Losses
from megavid.models.base.detector import (
    MOST_FRAMES,
    DetectorConfig,
    FrameFeatures,
    MethodConfig,
    VideoDetector,
    Window,
)
from megavid.models.faster_rcnn.roi_head import Prediction
from megavid.models.layers.flownet import MOST_FLOW_CHANNELS, FlowNet, flow_input
from megavid.models.layers.warp import warp, warp_cells


class FgfaConfig(MethodConfig):
    """Settings of `Fgfa`.

    Attributes:
        window: Frames before and after the key frame whose features are aggregated; 9 as published.
        flow_width: Channels of FlowNet's first layer; 64 as published.
        align_corners: How maps are sampled (`warp`); False for the published weights.
    """

    name: Literal["fgfa"]
    window: int = Field(ge=0, le=MOST_FRAMES)
    flow_width: int = Field(ge=1, le=MOST_FLOW_CHANNELS)
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

    def insensitive(self) -> list[nn.Module]:
        """Those of any detector, and its own: over 19 frames their rounding evens out."""
        return [*super().insensitive(), self.flow, self.embedding]

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame."""
        return ReferencePlan(past=self.method.window, future=self.method.window)

    def encode(self, images: Tensor) -> list[FgfaFeatures]:
        """(B, 3, H, W) -> maps of each."""
        image_size = (images.shape[2], images.shape[3])
        c4 = self.backbone.c4(images)
        maps = zip(flow_input(images), c4, self.embedding(c4), strict=True)
        return [FgfaFeatures(image_size, inputs.clone(), self._own(a), self._own(b)) for inputs, a, b in maps]

    def _own(self, x: Tensor) -> Tensor:
        """A copy, lest one frame that is kept keep the whole batch; as `_warp` reads it fastest."""
        if not self.sums_cells:
            return x.clone()
        return x.permute(1, 2, 0).clone(memory_format=torch.contiguous_format).permute(2, 0, 1)

    def initial_memory(self) -> None:
        """Nothing is remembered."""

    def detect(self, window: Window[FgfaFeatures], memory: None) -> tuple[Prediction, None]:
        """Predictions for the proposals on the key frame's aggregated map."""
        c4 = self._aggregate(window.key, window.local)
        [found] = self.roi_features(c4[None], window.key.image_size, self.fcs)
        return self.predictor(found.features, found.proposals, found.image_size), None

    def _aggregate(self, key: FgfaFeatures, local: Sequence[FgfaFeatures]) -> Tensor:
        """The average of the window's maps, warped to the key frame, (C4, h, w).

        A frame that stands in the window several times counts as often, but is warped once.
        """
        frames = list(dict.fromkeys([key, *local]))
        # A compiled network is for one number of pairs: at the ends of a video some count for nothing.
        filled = [key] * (len(local) - len(frames)) if self.inference.compile else []
        references = torch.stack([f.flow_input for f in (*frames, *filled)])
        with stage("flow"):
            flow = self.flow(key.flow_input[None], references)[0][: len(frames)]
        warped = (
            (self._warp(frame.c4[None], moves)[0], self._warp(frame.embedding[None], moves)[0])
            for frame, moves in zip(frames, flow.split(1), strict=True)
        )
        # The key frame, which comes first, is warped along the flow to itself, too.
        first = next(warped)
        return _average_by_likeness(chain([first], warped), [local.count(f) for f in frames], first[1])

    def _warp(self, maps: Tensor, flow: Tensor) -> Tensor:
        with stage("warping"):
            move = warp_cells if self.sums_cells else warp
            return move(maps, flow, align_corners=self.method.align_corners)

    @property
    def training_plan(self) -> TrainingPlan:
        """Two frames of the local window."""
        window = self.method.window
        return TrainingPlan((ReferenceGroup(name="local", count=2, low=-window, high=window),))

    def losses(self, clip: Clip) -> Losses:
        """Of Faster R-CNN on the aggregated map.

        In training the reference frames alone are averaged, and it is the warped maps that are embedded; in
        `detect` the key frame is among them, and the embeddings are warped.
        """
        rows = list(clip.references["local"])
        inputs, c4 = flow_input(clip.images), self.trunk_maps(clip)
        flow, _ = self.flow(inputs[:1], inputs[rows])
        warped = self._warp(c4[rows], flow)
        key, *embeddings = self.embedding(torch.cat((c4[:1], warped)))
        c4 = _average_by_likeness(zip(warped, embeddings, strict=True), [1] * len(rows), key)[None]
        rpn, rois = self.sampled_rois(c4, clip)
        return self.all_losses(rpn, rois, self.pooled(c4, [rois.boxes], self.fcs), clip)


def _average_by_likeness(
    maps: Iterable[tuple[Tensor, Tensor]], counts: Sequence[int], target: Tensor
) -> Tensor:
    """The average of several frames' maps as seen from the key frame, (C4, h, w).

    Weights are a softmax over frames of the cosine between embeddings, place by place (equations 2 and 3).

    Args:
        maps: Of each frame the features (C4, h, w) and the embedding (E, h, w), warped.
        counts: How many times each frame counts.
        target: (E, h, w), the key frame's embedding.
    """
    total, weights = target.new_zeros((), dtype=torch.float32), target.new_zeros((), dtype=torch.float32)
    for (c4, embedding), count in zip(maps, counts, strict=True):
        # Cosines are 1 at most, so their exponentials need no shift.
        weight = count * _cosine(embedding.float(), target.float()).exp()
        total = torch.addcmul(total, weight, c4.float())
        weights = weights + weight
    return (total / weights).to(target.dtype).contiguous()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of the angle between two maps' vectors, place by place: float32 (E, h, w) -> (h, w)."""
    with torch.autocast(a.device.type, enabled=False):  # a long vector's length is too much for float16
        norms = [torch.linalg.vector_norm(x, dim=0).clamp(min=1e-8) for x in (a, b)]
        cosine: Tensor = torch.linalg.vecdot(a, b, dim=0) / (norms[0] * norms[1])
    return cosine
