"""MEGA: memory enhanced global-local aggregation (Chen et al., CVPR 2020).

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; G global RoIs; D features; H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.sampling import ReferencePlan
from megavid.detection.detector import DetectorConfig, FrameFeatures, MethodConfig, VideoDetector, Window
from megavid.detection.roi_head import Prediction
from megavid.nn.relation import Relation


class MegaConfig(MethodConfig):
    """Settings of `Mega`.

    Attributes:
        heads: H, of the relation modules; divides `hidden`.
        window: Frames before and after the key frame in the local window.
        memory: Frames that left the window whose features are kept (section 3.3); 0 for none.
        global_frames: Frames from anywhere in the video (section 3.2); 0 for none.
        reference_proposals: R, the first proposals of a reference frame.
        distilled_proposals: A, the first of those, which later stages refine: 20 % as published.
        stages: Local relation stages.
        global_stages: Global relation modules: the first enhances all RoIs, further ones the key
            frame's at the end (none in the original's R-50 model, one in R-101).
    """

    name: Literal["mega"]
    heads: int = Field(ge=1)
    window: int = Field(ge=0)
    memory: int = Field(ge=0)
    global_frames: int = Field(ge=0)
    reference_proposals: int = Field(ge=1)
    distilled_proposals: int = Field(ge=1)
    stages: int = Field(ge=1)
    global_stages: int = Field(ge=1)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} should be a multiple of heads {self.heads}")
        if self.distilled_proposals > self.reference_proposals:
            raise ValueError(
                f"distilled_proposals {self.distilled_proposals} should not exceed "
                f"reference_proposals {self.reference_proposals}"
            )
        return self


@dataclass(frozen=True, eq=False)
class MegaFeatures(FrameFeatures):
    """A frame's proposals and their features; its reference proposals are the first R.

    Attributes:
        proposals: (P, 4), half-open, input pixels.
        features: (P, D) after the first fully-connected layer.
    """

    proposals: Tensor
    features: Tensor


@dataclass(frozen=True, eq=False)
class RoIs:
    """RoIs with their features.

    Attributes:
        features: (N, D).
        boxes: (N, 4), half-open, input pixels.
    """

    features: Tensor
    boxes: Tensor

    def first(self, n: int) -> RoIs:
        """The first n, or all where there are fewer."""
        return RoIs(self.features[:n], self.boxes[:n])

    def copied(self) -> RoIs:
        """The same in memory of its own, which a part of a larger tensor would keep all of."""
        return RoIs(self.features.clone(), self.boxes.clone())


@dataclass(frozen=True, eq=False)
class MegaMemory:
    """For each stage, the RoIs of frames that left the window, oldest first (section 3.3)."""

    stages: tuple[tuple[RoIs, ...], ...]


class Mega(VideoDetector[MegaFeatures, MegaMemory]):
    """RoIs enhanced by global frames, then by relations to the local window and a long-range memory."""

    config_type = MegaConfig

    def __init__(self, config: DetectorConfig[MegaConfig]) -> None:
        super().__init__(config)
        self.method = method = config.method
        widths = [self.pooled_features] + [method.hidden] * method.stages
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.local_relations = self._relations(method.stages, geometry=True)
        self.global_relations = self._relations(method.global_stages, geometry=False)

    def _relations(self, count: int, *, geometry: bool) -> nn.ModuleList:
        method = self.method
        return nn.ModuleList(
            Relation(features=method.hidden, heads=method.heads, geometry=geometry, query_bias=True)
            for _ in range(count)
        )

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame, and the global frames."""
        method = self.method
        return ReferencePlan(past=method.window, future=method.window, global_frames=method.global_frames)

    def encode(self, images: Tensor) -> list[MegaFeatures]:
        """(B, 3, h, w) -> proposals and RoI features of each."""
        image_size = (images.shape[2], images.shape[3])
        proposals, pooled = self.propose(self.backbone.c4(images), image_size)
        features = F.relu(self.fcs[0](pooled)).split([len(p.boxes) for p in proposals])
        # A copy each, lest one frame that is kept keep the whole batch.
        return [
            MegaFeatures(image_size, p.boxes, f.clone()) for p, f in zip(proposals, features, strict=True)
        ]

    def initial_memory(self) -> MegaMemory:
        """No frames, for every stage."""
        return MegaMemory(((),) * self.method.stages)

    def detect(self, window: Window[MegaFeatures], memory: MegaMemory) -> tuple[Prediction, MegaMemory]:
        """Predictions for the key frame's proposals, and the memory with the window's oldest frame in it."""
        key = window.key
        reference = self.method.reference_proposals
        global_GD = torch.cat([key.features[:0], *(f.features[:reference] for f in window.global_frames)])
        x_PD, remembered = self._aggregate(window, global_GD, memory)
        for relation in self.global_relations[1:]:
            x_PD = x_PD + relation(x_PD, global_GD)
        stages = tuple(
            (*frames, frame)[-self.method.memory :] if self.method.memory else ()
            for frames, frame in zip(memory.stages, remembered, strict=True)
        )
        return self.predictor(x_PD, key.proposals, key.image_size), MegaMemory(stages)

    def _aggregate(
        self, window: Window[MegaFeatures], global_GD: Tensor, memory: MegaMemory
    ) -> tuple[Tensor, list[RoIs]]:
        """Global, then local aggregation (sections 3.2 and 3.3).

        Returns:
            The key frame's features (P, D), and for each stage the window's oldest frame as it sees it.
        """
        method = self.method
        frames = [RoIs(f.features, f.proposals).first(method.reference_proposals) for f in window.local]
        key = RoIs(window.key.features, window.key.proposals)
        joined = cat([key, *frames])
        enhanced = joined.features + self.global_relations[0](joined.features, global_GD)
        key, *references = split(enhanced, [key, *frames])
        distilled = [r.first(method.distilled_proposals) for r in references]
        remembered = []
        for stage, relation in enumerate(cast(Iterable[Relation], self.local_relations)):
            if stage > 0:
                x = F.relu(self.fcs[stage](cat([key, *distilled]).features))
                key, *distilled = split(x, [key, *distilled])
            seen = references if stage == 0 else distilled
            remembered.append(seen[0].copied())
            if stage == len(self.local_relations) - 1:
                distilled = []  # nothing looks at them any more
            queries, keys = cat([key, *distilled]), cat([*seen, *memory.stages[stage]])
            bias = relation.geometry_bias(queries.boxes, keys.boxes)
            x = queries.features + relation(queries.features, keys.features, bias)
            key, *distilled = split(x, [key, *distilled])
        return key.features, remembered


def cat(parts: Sequence[RoIs]) -> RoIs:
    """All RoIs of several sets."""
    return RoIs(torch.cat([p.features for p in parts]), torch.cat([p.boxes for p in parts]))


def split(features: Tensor, parts: Sequence[RoIs]) -> list[RoIs]:
    """What `cat` joined, with new features (sum of N, D)."""
    chunks = features.split([len(p.boxes) for p in parts])
    return [RoIs(chunk, part.boxes) for chunk, part in zip(chunks, parts, strict=True)]
