"""FGFA: flow-guided feature aggregation (Zhu et al., ICCV 2017).

Shapes: network input of H x W pixels; trunk map of h x w cells and C4 channels; embeddings of E channels.
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

from megavid.core.profiling import profile_range
from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip
from megavid.models.base.detector_config import MOST_FRAMES
from megavid.models.base.features import FrameFeatures
from megavid.models.base.requests import KeyFrames
from megavid.models.faster_rcnn.batched_faster_rcnn import BatchedFasterRCNN
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig, RoIMethodConfig
from megavid.models.layers.flownet import MOST_FLOW_CHANNELS, FlowNet, flow_input
from megavid.models.layers.host_values import take_rows


class FgfaConfig(RoIMethodConfig):
    """Settings of `Fgfa`.

    Attributes:
        window: Number of frames on each side of the key frame that are aggregated; 9 as published.
        flow_width: Number of channels of FlowNet's first layer; 64 as published.
        align_corners: Sampling convention (`layers.warp.warp`); False for the published weights.
    """

    name: Literal["fgfa"]
    window: int = Field(ge=0, le=MOST_FRAMES)
    flow_width: int = Field(ge=1, le=MOST_FLOW_CHANNELS)
    align_corners: bool


@dataclass(frozen=True, eq=False)
class FgfaFeatures(FrameFeatures):
    """Maps of a frame.

    Attributes:
        flow_input: (3, ceil(H / 2), ceil(W / 2)).
        c4: (C4, h, w), the trunk's map.
        embedding: (E, h, w), a vector per cell; the cosine of two frames' vectors measures their similarity.
    """

    flow_input: Tensor
    c4: Tensor
    embedding: Tensor


class EmbeddingNet(nn.Module):
    """Three convolutions from the trunk's map to embeddings.

    Args:
        channels: C4; E is twice that.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 2, 1)
        self.conv2 = nn.Conv2d(channels // 2, channels // 2, 3, 1, 1)
        self.conv3 = nn.Conv2d(channels // 2, channels * 2, 1)

    def forward(self, c4: Tensor) -> Tensor:
        """Embed maps: (B, C4, h, w) -> (B, E, h, w)."""
        x = F.relu(self.conv2(F.relu(self.conv1(c4))))
        embedding: Tensor = self.conv3(x)
        return embedding


class Fgfa(BatchedFasterRCNN[FgfaFeatures, None]):
    """Faster R-CNN on the maps of the window, warped to the key frame and averaged by similarity."""

    config_type = FasterRCNNConfig[FgfaConfig]
    knows_padding = True

    def __init__(self, config: FasterRCNNConfig[FgfaConfig]) -> None:
        super().__init__(config)
        self.method = config.method
        self.fcs = self.fully_connected(2)
        self.flow = FlowNet(width=config.method.flow_width)
        self.embedding = EmbeddingNet(channels=self.backbone.c4_channels)

    def insensitive(self) -> list[nn.Module]:
        """Return conv5, flow and embedding networks, whose rounding averages out over the window."""
        return [*super().insensitive(), self.flow, self.embedding]

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame."""
        return ReferencePlan(past=self.method.window, future=self.method.window, reach=0)

    def encode(self, images: Tensor) -> list[FgfaFeatures]:
        """Compute the maps of each image (B, 3, H, W)."""
        image_size = (images.shape[2], images.shape[3])
        c4 = self.backbone.c4(images)
        maps = zip(flow_input(images), c4, self.embedding(c4), strict=True)
        return [
            FgfaFeatures(image_size, inputs.clone(), self._copy(a), self._copy(b)) for inputs, a, b in maps
        ]

    def _copy(self, x: Tensor) -> Tensor:
        """Copy a map (C, h, w) in the kernels' layout, since a slice would keep its whole batch in memory."""
        if not self.kernels.channels_last:
            return x.clone()
        return x.permute(1, 2, 0).clone(memory_format=torch.contiguous_format).permute(2, 0, 1)

    def initial_memory(self) -> None:
        """Return None: this method has no memory."""

    def predict_batch(
        self, requests: Sequence[KeyFrames[FgfaFeatures, None]]
    ) -> tuple[list[HeadOutput], list[None]]:
        """Predict on the key frames' aggregated maps."""
        windows = [window for request in requests for window in request.windows]
        if self.fixed_shapes:
            maps = [self._aggregate_places(window.local) for window in windows]
        else:
            maps = [self._aggregate(window.key, window.local) for window in windows]
        c4 = torch.cat([c4[None] for c4 in maps])
        found = self.roi_features(c4, windows[0].key.image_size, self.fcs)
        return self.head_outputs([frame.features for frame in found], found), [None] * len(requests)

    def _aggregate(self, key: FgfaFeatures, local: Sequence[FgfaFeatures]) -> Tensor:
        """Average the maps of the window, warped to the key frame, (C4, h, w).

        A frame that fills several places of the window is warped once and weighted by the number of places.
        """
        frames = list(dict.fromkeys([key, *local]))
        # A compiled network takes a fixed number of pairs. Near the ends of a video, copies of the key frame
        # fill up this number; their flow is dropped.
        filled = [key] * (len(local) - len(frames)) if self.inference.compile else []
        references = torch.stack([f.flow_input for f in (*frames, *filled)])
        with profile_range("flow"):
            flow = self.flow(key.flow_input[None], references)[0][: len(frames)]
        warped = (
            (self._warp(frame.c4[None], moves)[0], self._warp(frame.embedding[None], moves)[0])
            for frame, moves in zip(frames, flow.split(1), strict=True)
        )
        # As in the original, even the key frame, which comes first, is warped, along the flow to itself.
        first = next(warped)
        return _average_by_likeness(chain([first], warped), [local.count(f) for f in frames], first[1])

    def _aggregate_places(self, local: Sequence[FgfaFeatures]) -> Tensor:
        """Average like `_aggregate`, with all places of the window at once, even if they hold the same frame.

        The work and its shapes are the same for every window. This takes more memory than `_aggregate`.
        """
        key = self.method.window  # place of the key frame, whether or not there is look-ahead
        with profile_range("flow"):
            flow, _ = self.flow(local[key].flow_input[None], torch.stack([f.flow_input for f in local]))
        c4 = self._warp(torch.stack([f.c4 for f in local]), flow)
        embedding = self._warp(torch.stack([f.embedding for f in local]), flow).float()
        weights = _cosine(embedding, embedding[key]).softmax(dim=0)
        return (weights[:, None] * c4.float()).sum(0).to(c4.dtype)

    def _warp(self, maps: Tensor, flow: Tensor) -> Tensor:
        with profile_range("warping"):
            return self.kernels.warp(maps, flow, align_corners=self.method.align_corners)

    @property
    def training_plan(self) -> TrainingPlan:
        """Two reference frames from the local window."""
        window = self.method.window
        return TrainingPlan((ReferenceGroup(name="local", count=2, low=-window, high=window),))

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses of Faster R-CNN on the aggregated map.

        As in the original, training averages the reference frames only, and embeds their warped maps. In
        contrast, `predict` also includes the key frame in the average, and warps embeddings.
        """
        rows = clip.references["local"]
        inputs = flow_input(clip.images)
        flow, _ = self.flow(inputs[:1], take_rows(inputs, rows))
        warped = self._warp(take_rows(c4, rows), flow)
        key, *embeddings = self.embedding(torch.cat((c4[:1], warped)))
        c4 = _average_by_likeness(zip(warped, embeddings, strict=True), [1] * len(rows), key)[None]
        rpn, rois = self.sampled_rois(c4, clip)
        return self.all_losses(rpn, rois, self.pooled(c4, [rois.boxes], self.fcs), clip)


def _average_by_likeness(
    maps: Iterable[tuple[Tensor, Tensor]], counts: Sequence[int], target: Tensor
) -> Tensor:
    """Average maps that are warped to the key frame, (C4, h, w).

    In each cell, the weights of the frames are the softmax of the cosines between their embeddings and that
    of the key frame (equations 2 and 3).

    Args:
        maps: Warped map (C4, h, w) and warped embedding (E, h, w) of each frame.
        counts: Number of times that each frame counts.
        target: (E, h, w), embedding of the key frame.
    """
    total, weights = target.new_zeros((), dtype=torch.float32), target.new_zeros((), dtype=torch.float32)
    for (c4, embedding), count in zip(maps, counts, strict=True):
        # Cosines are 1 at most, so their exponentials cannot overflow.
        weight = count * _cosine(embedding.float(), target.float()).exp()
        total = torch.addcmul(total, weight, c4.float())
        weights = weights + weight
    return (total / weights).to(target.dtype).contiguous()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Compute the cosine between vectors in each cell of maps: float32 (..., E, h, w) -> (..., h, w)."""
    with torch.autocast(a.device.type, enabled=False):  # lengths of vectors would overflow float16
        norms = [torch.linalg.vector_norm(x, dim=-3).clamp(min=1e-8) for x in (a, b)]
        cosine: Tensor = torch.linalg.vecdot(a, b, dim=-3) / (norms[0] * norms[1])
    return cosine
