"""MEGA: memory enhanced global-local aggregation (Chen et al., CVPR 2020).

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; G global RoIs; D features; H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip, Losses
from megavid.models.base.detector import MOST_FRAMES, DetectorConfig, RoIFeatures, VideoDetector, Window
from megavid.models.faster_rcnn.relation_cache import PairBias, of_frames
from megavid.models.faster_rcnn.roi_head import Prediction
from megavid.models.faster_rcnn.roi_relations import (
    MOST_STAGES,
    DistillationConfig,
    RoIs,
    cat,
    encode_clip,
    split,
)
from megavid.models.layers.relation import References, Relation


class MegaConfig(DistillationConfig):
    """Settings of `Mega`.

    Attributes:
        memory: Frames that left the window whose features are kept (section 3.3); 0 for none.
        global_frames: Frames from anywhere in the video (section 3.2); 0 for none.
        global_stages: Global relation modules: the first enhances all RoIs, further ones the key
            frame's at the end (none in the original's R-50 model, one in R-101).
    """

    name: Literal["mega"]
    memory: int = Field(ge=0, le=MOST_FRAMES)
    global_frames: int = Field(ge=0, le=MOST_FRAMES)
    global_stages: int = Field(ge=1, le=MOST_STAGES)


@dataclass(frozen=True, eq=False)
class LocalFrame:
    """What depends on a frame of the local window alone.

    Attributes:
        rois: Its R reference proposals.
        queries: (R, H, d), the same as the first global relation module projects them.
        distilled_boxes: (A, 4), of the distilled ones.
    """

    rois: RoIs
    queries: Tensor
    distilled_boxes: Tensor


@dataclass(frozen=True, eq=False)
class Remembered:
    """RoIs of a frame that left the window, as a relation module projects them.

    Attributes:
        references: Of N RoIs.
        boxes: (N, 4).
    """

    references: References
    boxes: Tensor


@dataclass(frozen=True, eq=False)
class MegaMemory:
    """What is remembered of a video: the long-range memory, and what the next key frame would compute again.

    Attributes:
        stages: For each stage, the RoIs of frames that left the window, oldest first (section 3.3).
        local: The window's frames.
        world: The global frames, for each global relation module.
        biases: Of pairs of frames, for each stage but the last.
    """

    stages: tuple[tuple[Remembered, ...], ...]
    local: Mapping[RoIFeatures, LocalFrame]
    world: Mapping[RoIFeatures, tuple[References, ...]]
    biases: tuple[PairBias, ...]


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
        stages = self.method.stages
        return MegaMemory(((),) * stages, {}, {}, (PairBias(),) * (stages - 1))

    def detect(self, window: Window[RoIFeatures], memory: MegaMemory) -> tuple[Prediction, MegaMemory]:
        """Predictions for the key frame's proposals, and the memory with the window's oldest frame in it."""
        key, count = window.key, self.method.reference_proposals
        local = of_frames(window.local, lambda f: self._local(RoIs.of(f).first(count)), known=memory.local)
        world = of_frames(
            window.global_frames, lambda f: self._projected(f.features[:count]), known=memory.world
        )
        x_PD, seen, biases = self._aggregate(
            RoIs.of(key),
            [local[frame] for frame in window.local],
            [world[frame] for frame in window.global_frames],
            memory.stages,
            memory.biases,
        )
        stages = tuple(
            (*frames, self._remembered(stage, oldest))[-self.method.memory :] if self.method.memory else ()
            for stage, (frames, (oldest, *_)) in enumerate(zip(memory.stages, seen, strict=True))
        )
        prediction = self.predictor(x_PD, key.proposals, key.image_size)
        if not self.inference.reuse:
            return prediction, replace(self.initial_memory(), stages=stages)
        return prediction, MegaMemory(stages, local, world, biases)

    def _local(self, rois: RoIs) -> LocalFrame:
        first = cast(Relation, self.global_relations[0])
        # Boxes in memory of their own: they stay in the memory when the frame is gone.
        boxes, distilled = rois.boxes.clone(), rois.boxes[: self.method.distilled_proposals].clone()
        return LocalFrame(RoIs(rois.features, boxes), first.queries(rois.features), distilled)

    def _projected(self, features: Tensor) -> tuple[References, ...]:
        """A global frame's reference proposals (R, D) as each global relation module projects them."""
        return tuple(r.references(features) for r in cast(Iterable[Relation], self.global_relations))

    def _remembered(self, stage: int, rois: RoIs) -> Remembered:
        relation = cast(Relation, self.local_relations[stage])
        return Remembered(relation.references(rois.features), rois.boxes)

    def _aggregate(
        self,
        key: RoIs,
        local: Sequence[LocalFrame],
        world: Sequence[tuple[References, ...]],
        memory: Sequence[Sequence[Remembered]],
        biases: Sequence[PairBias],
    ) -> tuple[Tensor, list[list[RoIs]], tuple[PairBias, ...]]:
        """Global, then local, then again global aggregation (sections 3.2 and 3.3).

        Args:
            key: RoIs of the key frame.
            local: Frames of the local window, oldest first.
            world: Global frames, for each global relation module.
            memory: For each stage, the frames that left the window.
            biases: Of pairs of frames, for each stage but the last.

        Returns:
            The key frame's features (P, D); for each stage the window's frames as it sees them; new `biases`.
        """
        key, *references = self._enhanced(key, local, world)
        distilled = [
            RoIs(rois.features[: len(frame.distilled_boxes)], frame.distilled_boxes)
            for rois, frame in zip(references, local, strict=True)
        ]
        seen, moved = [references], []
        for stage, before in enumerate(biases):
            key, distilled, bias = self._stage(
                stage, key, distilled, window=seen[-1], memory=memory[stage], bias=before
            )
            moved.append(bias)
            x = F.relu(self.fcs[stage + 1](cat([key, *distilled]).features))
            key, *distilled = split(x, [key, *distilled])
            seen.append(distilled)
        # In the last stage nothing looks at the distilled RoIs any more.
        key, _, _ = self._stage(len(biases), key, [], window=seen[-1], memory=memory[-1], bias=PairBias())
        x_PD = key.features
        later = list(cast(Iterable[Relation], self.global_relations))[1:] if world else []
        for number, relation in enumerate(later, 1):
            references_of = References.cat(parts[number] for parts in world)
            x_PD = x_PD + relation.attend(relation.queries(x_PD), references_of)
        return x_PD, seen, tuple(moved)

    def _enhanced(
        self, key: RoIs, local: Sequence[LocalFrame], world: Sequence[tuple[References, ...]]
    ) -> list[RoIs]:
        """The key frame's RoIs and those of the local window, related to the global frames (section 3.2)."""
        first = cast(Relation, self.global_relations[0])
        joined = [key, *(frame.rois for frame in local)]
        features = cat(joined).features
        if world:
            queries = torch.cat([first.queries(key.features), *(frame.queries for frame in local)])
            features = features + first.attend(queries, References.cat(parts[0] for parts in world))
        return split(features, joined)

    def _stage(
        self,
        stage: int,
        key: RoIs,
        distilled: Sequence[RoIs],
        *,
        window: Sequence[RoIs],
        memory: Sequence[Remembered],
        bias: PairBias,
    ) -> tuple[RoIs, list[RoIs], PairBias]:
        """The key frame's and the distilled RoIs, related to those of the window and of the memory."""
        relation = cast(Relation, self.local_relations[stage])
        asking = cat([key, *distilled])
        queries, others = relation.queries(asking.features).split(
            [len(key.boxes), len(asking.boxes) - len(key.boxes)]
        )
        boxes = [*(frame.boxes for frame in memory), *(rois.boxes for rois in window)]
        of_window = relation.references(cat(window).features)
        references = References.cat([*(frame.references for frame in memory), of_window])
        geometry = relation.geometry_bias(key.boxes, torch.cat(boxes))
        key = key.plus(relation.attend(queries, references, geometry))
        if not distilled:
            return key, [], bias
        bias = bias.moved_on(relation, [rois.boxes for rois in distilled], boxes)
        related = cat(distilled).plus(relation.attend(others, references, bias.bias))
        return key, split(related.features, distilled), bias

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
        local = [self._local(rois.references[0]), *(self._local(frame) for frame in frames["local"])]
        world = [self._projected(frame.features) for frame in frames.get("global", [])]
        initial = self.initial_memory()
        memory: Sequence[Sequence[Remembered]] = initial.stages
        if self.method.memory:
            with torch.no_grad():
                before = [self._local(frame) for frame in frames["memory"]]
                _, seen, _ = self._aggregate(rois.key.first(0), before, world, memory, initial.biases)
            memory = [[self._remembered(stage, r) for r in kept] for stage, kept in enumerate(seen)]
        x_PD, _, _ = self._aggregate(rois.key, local, world, memory, initial.biases)
        return self.all_losses(rois.rpn, rois.sampled, x_PD, clip)
