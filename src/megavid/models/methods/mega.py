"""MEGA: memory enhanced global-local aggregation (Chen et al., CVPR 2020).

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; D features; H heads of d features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip
from megavid.models.base.detector_config import MOST_FRAMES
from megavid.models.base.features import Window
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN, RoIFeatures
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.faster_rcnn.relation_cache import PairBias, compute_once
from megavid.models.faster_rcnn.roi_relations import (
    MOST_STAGES,
    DistillationConfig,
    RoIs,
    cat,
    encode_clip,
    split,
)
from megavid.models.layers.relation import KeysValues


class MegaConfig(DistillationConfig):
    """Settings of `Mega`.

    Attributes:
        memory: Number of frames remembered after they left the window (section 3.3); 0 for none.
        global_frames: Number of frames from anywhere in the video (section 3.2); 0 for none.
        global_stages: Number of global relation modules. The first one enhances all RoIs; the others (none in
            the original's R-50 model, one in its R-101 model) enhance the key frame's RoIs at the end.
    """

    name: Literal["mega"]
    memory: int = Field(ge=0, le=MOST_FRAMES)
    global_frames: int = Field(ge=0, le=MOST_FRAMES)
    global_stages: int = Field(ge=1, le=MOST_STAGES)


@dataclass(frozen=True, eq=False)
class LocalFrame:
    """Values that depend on a single frame of the local window.

    Attributes:
        rois: The R reference proposals.
        queries: (R, H, d), reference proposals as projected by the first global relation module.
        distilled: The A distilled proposals, as they are in `rois`.
    """

    rois: RoIs
    queries: Tensor
    distilled: RoIs


@dataclass(frozen=True, eq=False)
class RememberedRoIs:
    """RoIs of one or more frames that left the window, oldest first, for one stage.

    Attributes:
        references: Keys and values of N RoIs.
        boxes: (N, 4), their boxes.
    """

    references: KeysValues
    boxes: Tensor

    def shifted(self, newest: RememberedRoIs) -> RememberedRoIs:
        """Return as many RoIs, of which `newest` have taken the place of the oldest ones."""
        n = len(newest.boxes)
        _, rest = self.references.split([n, len(self.boxes) - n])
        return RememberedRoIs(
            KeysValues.cat([rest, newest.references]), torch.cat([self.boxes[n:], newest.boxes])
        )


@dataclass(frozen=True, eq=False)
class MegaMemory:
    """The long-range memory of a video, and values that the next key frame would otherwise compute again.

    Attributes:
        stages: RoIs of frames that left the window, oldest first, for each stage (section 3.3): an item for
            each frame, or, with fixed shapes, a single item for as many frames as are remembered, at first
            padding.
        local: Values of each frame of the window, by its features.
        global_references: Keys and values of global frames, for each global relation module.
        biases: Geometry terms of pairs of frames, for each stage but the last.
    """

    stages: tuple[tuple[RememberedRoIs, ...], ...]
    local: Mapping[RoIFeatures, LocalFrame]
    global_references: Mapping[RoIFeatures, tuple[KeysValues, ...]]
    biases: tuple[PairBias, ...]


class Mega(FasterRCNN[RoIFeatures, MegaMemory]):
    """RoIs enhanced by global frames, then by relations to the local window and a long-range memory."""

    config_type = FasterRCNNConfig[MegaConfig]
    knows_padding = True

    def __init__(self, config: FasterRCNNConfig[MegaConfig]) -> None:
        super().__init__(config)
        self.method = method = config.method
        self.fcs = self.fully_connected(method.stages)
        self.local_relations = method.relations(method.stages, geometry=True, query_bias=True)
        self.global_relations = method.relations(method.global_stages, geometry=False, query_bias=True)
        # Without global frames, the global relations get no gradient, so they are frozen.
        self.global_relations.requires_grad_(method.global_frames > 0)

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame, the global frames, and the memory."""
        method = self.method
        return ReferencePlan(
            past=method.window,
            future=method.window,
            global_frames=method.global_frames,
            memory=method.memory,
        )

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """Compute proposals and RoI features of each image (B, 3, h, w)."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> MegaMemory:
        """Return a memory without frames."""
        method = self.method
        if not self.fixed_shapes or method.memory == 0:
            return self._without_caches(((),) * method.stages)
        counts = [method.reference_proposals] + [method.distilled_proposals] * (method.stages - 1)
        counts = [min(count, self.config.rpn.post_nms_top_n) for count in counts]
        return self._without_caches(tuple((self._padding(method.memory * count),) for count in counts))

    def _without_caches(self, stages: tuple[tuple[RememberedRoIs, ...], ...]) -> MegaMemory:
        return MegaMemory(stages, {}, {}, (PairBias(),) * (self.method.stages - 1))

    def _padding(self, count: int) -> RememberedRoIs:
        """Return as many remembered RoIs, all of them padding."""
        weight = self.local_relations[0].key.weight
        nothing = weight.new_zeros(count, self.method.heads, len(weight) // self.method.heads)
        boxes = weight.new_ones(count, 4, dtype=torch.float32)
        return RememberedRoIs(
            KeysValues(nothing, nothing, nothing.new_zeros(count, dtype=torch.bool)),
            torch.cat((boxes[:, :2] - 1, boxes[:, 2:]), dim=1),
        )

    def predict(self, window: Window[RoIFeatures], memory: MegaMemory) -> tuple[HeadOutput, MegaMemory]:
        """Predict from the key frame's aggregated RoIs, and remember the window's oldest frame."""
        key, count = window.key, self.method.reference_proposals
        local = compute_once(
            window.local,
            lambda frames: self._local([RoIs.from_frame(f).first(count) for f in frames]),
            known=memory.local,
        )
        projected = compute_once(
            window.global_frames,
            lambda frames: self._project([RoIs.from_frame(f).first(count) for f in frames]),
            known=memory.global_references,
        )
        x_PD, seen, biases = self._aggregate(
            RoIs.from_frame(key),
            [local[frame] for frame in window.local],
            [projected[frame] for frame in window.global_frames],
            memory.stages,
            memory.biases,
        )
        stages = tuple(
            self._remember(frames, stage, oldest)
            for stage, (frames, (oldest, *_)) in enumerate(zip(memory.stages, seen, strict=True))
        )
        output = self.predictor(x_PD, key.proposals, key.image_size, key.valid)
        if not self.inference.reuse:
            return output, self._without_caches(stages)
        return output, MegaMemory(stages, local, projected, biases)

    def _local(self, frames: Sequence[RoIs]) -> list[LocalFrame]:
        """Make frames of the local window from their reference proposals."""
        queries = self.global_relations[0].queries(cat(frames).features)
        return [
            # Boxes are copied, since a slice that is remembered would keep all boxes of its frame in memory.
            LocalFrame(rois.copy_boxes(), q, rois.first(self.method.distilled_proposals).copy_boxes())
            for rois, q in zip(frames, queries.split([len(rois.boxes) for rois in frames]), strict=True)
        ]

    def _project(self, frames: Sequence[RoIs]) -> list[tuple[KeysValues, ...]]:
        """Compute keys and values of global frames' reference proposals for each global relation module."""
        joined, counts = cat(frames), [len(rois.boxes) for rois in frames]
        projected = [r.references(joined.features, joined.valid).split(counts) for r in self.global_relations]
        return list(zip(*projected, strict=True))

    def _remember(
        self, frames: tuple[RememberedRoIs, ...], stage: int, oldest: RoIs
    ) -> tuple[RememberedRoIs, ...]:
        """Add the window's oldest frame, with its RoIs in a stage, to the frames that the stage remembers."""
        if self.method.memory == 0:
            return ()
        newest = self._remembered(stage, oldest)
        if self.fixed_shapes:
            [before] = frames
            return (before.shifted(newest),)
        return (*frames, newest)[-self.method.memory :]

    def _remembered(self, stage: int, rois: RoIs) -> RememberedRoIs:
        references = self.local_relations[stage].references(rois.features, rois.valid)
        return RememberedRoIs(references, rois.boxes)

    def _aggregate(
        self,
        key: RoIs,
        local: Sequence[LocalFrame],
        global_references: Sequence[tuple[KeysValues, ...]],
        memory: Sequence[Sequence[RememberedRoIs]],
        biases: Sequence[PairBias],
    ) -> tuple[Tensor, list[list[RoIs]], tuple[PairBias, ...]]:
        """Relate RoIs to global frames, then to window and memory, then to global frames (sections 3.2, 3.3).

        Args:
            key: RoIs of the key frame.
            local: Frames of the local window, oldest first.
            global_references: Keys and values of each global frame, for each global relation module.
            memory: Frames that left the window, for each stage.
            biases: Geometry terms from the previous key frame, for each stage but the last.

        Returns:
            The key frame's features (P, D); the RoIs of the window's frames that each stage attends to; and
            the geometry terms for the next key frame.
        """
        key, *references = self._enhance(key, local, global_references)
        distilled = [
            frame.distilled.with_features(rois.features[: len(frame.distilled.boxes)])
            for rois, frame in zip(references, local, strict=True)
        ]
        seen, advanced = [references], []
        for stage, before in enumerate(biases):
            key, distilled, bias = self._stage(
                stage, key, distilled, window=seen[-1], memory=memory[stage], bias=before
            )
            advanced.append(bias)
            x = F.relu(self.fcs[stage + 1](cat([key, *distilled]).features))
            key, *distilled = split(x, [key, *distilled])
            seen.append(distilled)
        # The last stage leaves out the distilled RoIs, since no later stage attends to them.
        key, _, _ = self._stage(len(biases), key, [], window=seen[-1], memory=memory[-1], bias=PairBias())
        return self._enhance_again(key.features, global_references), seen, tuple(advanced)

    def _enhance(
        self, key: RoIs, local: Sequence[LocalFrame], global_references: Sequence[tuple[KeysValues, ...]]
    ) -> list[RoIs]:
        """Relate the RoIs of the key frame and of the local window to the global frames (section 3.2)."""
        first = self.global_relations[0]
        joined = [key, *(frame.rois for frame in local)]
        features = cat(joined).features
        if global_references:
            queries = torch.cat([first.queries(key.features), *(frame.queries for frame in local)])
            references = KeysValues.cat(projected[0] for projected in global_references)
            features = features + first.attend(queries, references)
        return split(features, joined)

    def _enhance_again(self, x_PD: Tensor, global_references: Sequence[tuple[KeysValues, ...]]) -> Tensor:
        """Relate the key frame's features (P, D) to global frames by all global relations but the first."""
        if global_references:
            for number, relation in enumerate(self.global_relations[1:], 1):
                references = KeysValues.cat(projected[number] for projected in global_references)
                x_PD = x_PD + relation.attend(relation.queries(x_PD), references)
        return x_PD

    def _stage(
        self,
        stage: int,
        key: RoIs,
        distilled: Sequence[RoIs],
        *,
        window: Sequence[RoIs],
        memory: Sequence[RememberedRoIs],
        bias: PairBias,
    ) -> tuple[RoIs, list[RoIs], PairBias]:
        """Relate the RoIs of the key frame and the distilled RoIs to those of the window and the memory."""
        relation = self.local_relations[stage]
        joined = cat([key, *distilled])
        key_queries, distilled_queries = relation.queries(joined.features).split(
            [len(key.boxes), len(joined.boxes) - len(key.boxes)]
        )
        boxes = [*(frame.boxes for frame in memory), *(rois.boxes for rois in window)]
        seen = cat(window)
        references = KeysValues.cat(
            [*(frame.references for frame in memory), relation.references(seen.features, seen.valid)]
        )
        geometry, bias = bias.advance(
            relation, key.boxes, [rois.boxes for rois in distilled], boxes, references.valid
        )
        key = key.plus(relation.attend(key_queries, references, geometry))
        if not distilled:
            return key, [], bias
        related = cat(distilled).plus(relation.attend(distilled_queries, references, bias.bias))
        return key, split(related.features, distilled), bias

    @property
    def training_plan(self) -> TrainingPlan:
        """Two frames from the local window, three from the window `memory` frames before, and two global."""
        window, memory = self.method.window, self.method.memory
        groups = [ReferenceGroup(name="local", count=2, low=-window, high=window)]
        if memory:
            groups.append(ReferenceGroup(name="memory", count=3, low=-window, high=window, center=-memory))
        if self.method.global_frames:
            groups.append(ReferenceGroup(name="global", count=2, anywhere=True))
        return TrainingPlan(tuple(groups))

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses on the key frame's aggregated RoIs.

        As in the original, the key frame is part of its own local window. The RoIs in the memory are
        aggregated without gradient, with the memory's frames as their local window.
        """
        rois = encode_clip(self, clip, c4, self.fcs[:1], proposals=self.method.reference_proposals)
        frames = {
            group.name: [rois.references[row] for row in clip.references[group.name]]
            for group in self.training_plan.groups
        }
        local = self._local([rois.references[0], *frames["local"]])
        projected = self._project(frames["global"]) if "global" in frames else []
        biases = (PairBias(),) * (self.method.stages - 1)
        memory: Sequence[Sequence[RememberedRoIs]] = ((),) * self.method.stages
        if self.method.memory:
            with torch.no_grad():
                before = self._local(frames["memory"])
                _, seen, _ = self._aggregate(rois.key.first(0), before, projected, memory, biases)
            memory = [[self._remembered(stage, r) for r in kept] for stage, kept in enumerate(seen)]
        x_PD, _, _ = self._aggregate(rois.key, local, projected, memory, biases)
        return self.all_losses(rois.rpn, rois.sampled, x_PD, clip)
