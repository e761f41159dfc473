"""MEGA: memory enhanced global-local aggregation (Chen et al., CVPR 2020).

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; G global RoIs; D features; H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from megavid.core.sampling import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.detection.clip import Clip, Losses
from megavid.detection.detector import DetectorConfig, RoIFeatures, VideoDetector, Window
from megavid.detection.relations import DistillationConfig, RoIs, cat, encode_clip, relate, split
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
        self.global_relations.requires_grad_(method.global_frames > 0)  # without any it has nothing to learn

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
        local = [RoIs.of(f).first(reference) for f in window.local]
        x_PD, seen = self._aggregate(RoIs.of(key), local, global_GD, memory)
        stages = tuple(
            (*frames, oldest.copied())[-self.method.memory :] if self.method.memory else ()
            for frames, (oldest, *_) in zip(memory.stages, seen, strict=True)
        )
        return self.predictor(x_PD, key.proposals, key.image_size), MegaMemory(stages)

    def _aggregate(
        self, key: RoIs, local: Sequence[RoIs], global_GD: Tensor, memory: MegaMemory
    ) -> tuple[Tensor, list[list[RoIs]]]:
        """Global, then local, then again global aggregation (sections 3.2 and 3.3).

        Args:
            key: RoIs of the key frame.
            local: Reference proposals of the local window's frames, oldest first.
            global_GD: Features of the global frames' reference proposals.
            memory: Of frames that left the window.

        Returns:
            The key frame's features (P, D), and for each stage the window's frames as it sees them.
        """
        joined = cat([key, *local])
        enhanced = joined.features + self.global_relations[0](joined.features, global_GD)
        key, *references = split(enhanced, [key, *local])
        distilled = [r.first(self.method.distilled_proposals) for r in references]
        seen = []
        for stage, relation in enumerate(cast(Iterable[Relation], self.local_relations)):
            if stage > 0:
                x = F.relu(self.fcs[stage](cat([key, *distilled]).features))
                key, *distilled = split(x, [key, *distilled])
            seen.append(references if stage == 0 else distilled)
            if stage == len(self.local_relations) - 1:
                distilled = []  # nothing looks at them any more
            related = relate(relation, cat([key, *distilled]), cat([*seen[-1], *memory.stages[stage]]))
            key, *distilled = split(related.features, [key, *distilled])
        x_PD = key.features
        for relation in cast(Iterable[Relation], self.global_relations[1:]):
            x_PD = x_PD + relation(x_PD, global_GD)
        return x_PD, seen

    @property
    def training_plan(self) -> TrainingPlan:
        """Two frames of the local window, three of a window that lies in the memory, two global ones."""
        window, memory = self.method.window, self.method.memory
        groups = [ReferenceGroup(name="local", count=2, low=-window, high=window)]
        if memory:
            groups.append(ReferenceGroup(name="memory", count=3, low=-window, high=window, centre=-memory))
        if self.method.global_frames:
            groups.append(ReferenceGroup(name="global", count=2, anywhere=True))
        return TrainingPlan(tuple(groups))

    def losses(self, clip: Clip) -> Losses:
        """Of Faster R-CNN on the key frame's aggregated RoIs.

        The key frame is in its own local window. The memory holds what its frames become when they are the
        window, without gradient.
        """
        rois = encode_clip(self, clip, self.fcs[:1], proposals=self.method.reference_proposals)
        frames = {
            group.name: [rois.references[row] for row in clip.references[group.name]]
            for group in self.training_plan.groups
        }
        global_GD = torch.cat([rois.key.features[:0], *(f.features for f in frames.get("global", []))])
        memory = self.initial_memory()
        if self.method.memory:
            with torch.no_grad():
                _, seen = self._aggregate(rois.key.first(0), frames["memory"], global_GD, memory)
            memory = MegaMemory(tuple(tuple(stage) for stage in seen))
        x_PD, _ = self._aggregate(rois.key, [rois.references[0], *frames["local"]], global_GD, memory)
        return self.all_losses(rois.rpn, rois.sampled, x_PD, clip)
