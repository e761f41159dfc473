"""MEGA: memory enhanced global-local aggregation (Chen et al., CVPR 2020).

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; G global RoIs; D features; H heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from megavid.core.sampling import ReferencePlan
from megavid.detection.detector import DetectorConfig, RoIFeatures, VideoDetector, Window
from megavid.detection.relations import DistillationConfig, RoIs, cat, relate, split
from megavid.detection.roi_head import Prediction
from megavid.nn.relation import Relation


class MegaConfig(DistillationConfig):
    """Settings of `Mega`.

    Attributes:
        memory: Frames that left the window whose features are kept (section 3.3); 0 for none.
        global_frames: Frames from anywhere in the video (section 3.2); 0 for none.
        global_stages: Global relation modules: the first enhances all RoIs, further ones the key
            frame's at the end (none in the original's R-50 model, one in R-101).
    """

    name: Literal["mega"]
    memory: int = Field(ge=0)
    global_frames: int = Field(ge=0)
    global_stages: int = Field(ge=1)


@dataclass(frozen=True, eq=False)
class MegaMemory:
    """For each stage, the RoIs of frames that left the window, oldest first (section 3.3)."""

    stages: tuple[tuple[RoIs, ...], ...]


class Mega(VideoDetector[RoIFeatures, MegaMemory]):
    """RoIs enhanced by global frames, then by relations to the local window and a long-range memory."""

    config_type = MegaConfig

    def __init__(self, config: DetectorConfig[MegaConfig]) -> None:
        super().__init__(config)
        self.method = method = config.method
        self.fcs = self.fully_connected(method.stages)
        self.local_relations = method.relations(method.stages, geometry=True, query_bias=True)
        self.global_relations = method.relations(method.global_stages, geometry=False, query_bias=True)

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame, and the global frames."""
        method = self.method
        return ReferencePlan(past=method.window, future=method.window, global_frames=method.global_frames)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """(B, 3, h, w) -> proposals and RoI features of each."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> MegaMemory:
        """No frames, for every stage."""
        return MegaMemory(((),) * self.method.stages)

    def detect(self, window: Window[RoIFeatures], memory: MegaMemory) -> tuple[Prediction, MegaMemory]:
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
        self, window: Window[RoIFeatures], global_GD: Tensor, memory: MegaMemory
    ) -> tuple[Tensor, list[RoIs]]:
        """Global, then local aggregation (sections 3.2 and 3.3).

        Returns:
            The key frame's features (P, D), and for each stage the window's oldest frame as it sees it.
        """
        method = self.method
        frames = [RoIs.of(f).first(method.reference_proposals) for f in window.local]
        key = RoIs.of(window.key)
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
            related = relate(relation, cat([key, *distilled]), cat([*seen, *memory.stages[stage]]))
            key, *distilled = split(related.features, [key, *distilled])
        return key.features, remembered
