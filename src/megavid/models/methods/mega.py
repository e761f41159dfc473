"""MEGA: memory enhanced global-local aggregation (Chen et al., CVPR 2020).

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; D features; H heads of d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip
from megavid.models.base.detector_config import MOST_FRAMES
from megavid.models.base.requests import KeyFrames
from megavid.models.faster_rcnn.batched_faster_rcnn import BatchedFasterRCNN
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.faster_rcnn.relation_cache import PairBias, compute_once, merged
from megavid.models.faster_rcnn.roi_relations import (
    MOST_STAGES,
    DistillationConfig,
    RoIs,
    cat,
    cat_features,
    encode_clip,
    split,
)
from megavid.models.layers.relation import KeysValues, cat_masks
from megavid.models.methods.mega_rois import (
    KeyFrameInput,
    KeyFrameRoIs,
    LocalFrame,
    MegaMemory,
    RememberedRoIs,
    with_features,
)


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


class Mega(BatchedFasterRCNN[RoIFeatures, MegaMemory]):
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
            reach=method.stages * method.memory,  # see MegaMemory
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
        return MegaMemory(stages, {}, {}, (PairBias(),) * self.method.stages)

    def _padding(self, count: int) -> RememberedRoIs:
        """Return as many remembered RoIs, all of them padding."""
        weight = self.local_relations[0].key.weight
        nothing = weight.new_zeros(count, self.method.heads, len(weight) // self.method.heads)
        boxes = weight.new_ones(count, 4, dtype=torch.float32)
        return RememberedRoIs(
            KeysValues(nothing, nothing, nothing.new_zeros(count, dtype=torch.bool)),
            torch.cat((boxes[:, :2] - 1, boxes[:, 2:]), dim=1),
        )

    def predict_batch(
        self, requests: Sequence[KeyFrames[RoIFeatures, MegaMemory]]
    ) -> tuple[list[HeadOutput], list[MegaMemory]]:
        """Predict from the key frames' aggregated RoIs, and remember the oldest frame of each window."""
        count = self.method.reference_proposals
        windows = [(video, window) for video, request in enumerate(requests) for window in request.windows]
        memories = [request.memory for request in requests]
        local = compute_once(
            (frame for _, window in windows for frame in window.local),
            lambda frames: self._local([RoIs.from_frame(f).first(count) for f in frames]),
            known=merged(memory.local for memory in memories),
        )
        projected = compute_once(
            (frame for _, window in windows for frame in window.global_frames),
            lambda frames: self._project([RoIs.from_frame(f).first(count) for f in frames]),
            known=merged(memory.global_references for memory in memories),
        )
        features, memories, _ = self._aggregate(
            [
                KeyFrameInput(
                    video,
                    RoIs.from_frame(window.key),
                    [local[frame] for frame in window.local],
                    [projected[frame] for frame in window.global_frames],
                )
                for video, window in windows
            ],
            memories,
        )
        outputs = self.head_outputs(features, [window.key for _, window in windows])
        if not self.inference.reuse:
            return outputs, memories
        return outputs, [
            replace(
                memory,
                local={frame: local[frame] for frame in request.windows[-1].local},
                global_references={frame: projected[frame] for frame in request.windows[-1].global_frames},
            )
            for request, memory in zip(requests, memories, strict=True)
        ]

    def _local(self, frames: Sequence[RoIs]) -> list[LocalFrame]:
        """Make frames of the local window from their reference proposals."""
        queries = self.global_relations[0].queries(cat_features(frames))
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
        self, frames: tuple[RememberedRoIs, ...], newest: RememberedRoIs
    ) -> tuple[RememberedRoIs, ...]:
        """Add a frame to those that a stage remembers, and forget the oldest one."""
        if not self.fixed_shapes:
            newest = replace(newest, references=newest.references.copy())
            return (*frames, newest)[-self.method.memory :]
        first, *others = frames
        first = first.without_first(len(newest.boxes))
        return (first, *others, newest) if len(first.boxes) else (*others, newest)

    def _aggregate(
        self, inputs: Sequence[KeyFrameInput], memories: Sequence[MegaMemory], *, remember: bool = True
    ) -> tuple[list[Tensor], list[MegaMemory], list[list[KeyFrameRoIs]]]:
        """Relate RoIs to global frames, then to window and memory, then to global frames (sections 3.2, 3.3).

        Key frames take each stage together. They can, since a stage remembers RoIs as they enter it: when it
        begins, all that it remembers of earlier key frames is known.

        Args:
            inputs: Consecutive key frames of each video.
            memories: Memory of each video.
            remember: Whether videos remember frames of these windows.

        Returns:
            The features (P, D) of each key frame; the memory of each video, without values of single frames;
            and the RoIs that each stage relates.
        """
        last = self.method.stages - 1
        frames, seen = self._enhance(inputs), list[list[KeyFrameRoIs]]()
        remembered, biases = [], []
        for stage in range(last + 1):
            if stage > 0:
                frames = self._connect(stage, frames)
            if stage == last:  # no later stage attends to the distilled RoIs
                frames = [replace(frame, distilled=[]) for frame in frames]
            seen.append(frames)
            remembered.append([memory.stages[stage] for memory in memories])
            biases.append([memory.biases[stage] for memory in memories])
            frames = self._stage(stage, frames, remembered[-1], biases[-1], remember=remember)
        if remember and self.fixed_shapes and self.method.memory:
            remembered = [[(RememberedRoIs.cat(frames),) for frames in stage] for stage in remembered]
        by_video = zip(zip(*remembered, strict=True), zip(*biases, strict=True), strict=True)
        after = [MegaMemory(stages, {}, {}, terms) for stages, terms in by_video]
        return self._enhance_again([frame.key for frame in frames], inputs), after, seen

    def _enhance(self, inputs: Sequence[KeyFrameInput]) -> list[KeyFrameRoIs]:
        """Relate the RoIs of key frames and of local windows to the global frames (section 3.2)."""
        first = self.global_relations[0]
        queries = first.queries(cat_features([frame.key for frame in inputs]))
        enhanced: list[KeyFrameRoIs] = []
        for frame, query in zip(inputs, queries.split([len(f.key.boxes) for f in inputs]), strict=True):
            joined = [frame.key, *(other.rois for other in frame.local)]
            features = cat_features(joined)
            if frame.global_references:
                references = KeysValues.cat(projected[0] for projected in frame.global_references)
                all_queries = torch.cat([query, *(other.queries for other in frame.local)])
                features = features + first.attend(all_queries, references)
            key, *window = split(features, joined)
            distilled = [
                other.distilled.with_features(rois.features[: len(other.distilled.boxes)])
                for rois, other in zip(window, frame.local, strict=True)
            ]
            enhanced.append(KeyFrameRoIs(frame.video, key, window, distilled))
        return enhanced

    def _enhance_again(self, keys: Sequence[RoIs], inputs: Sequence[KeyFrameInput]) -> list[Tensor]:
        """Relate the key frames' RoIs to global frames by all global relations but the first."""
        for number, relation in enumerate(self.global_relations[1:], 1):
            queries = relation.queries(cat_features(keys)).split([len(key.boxes) for key in keys])
            keys = [
                key.plus(relation.attend(q, KeysValues.cat(p[number] for p in frame.global_references)))
                if frame.global_references
                else key
                for key, q, frame in zip(keys, queries, inputs, strict=True)
            ]
        return [key.features for key in keys]

    def _connect(self, stage: int, frames: Sequence[KeyFrameRoIs]) -> list[KeyFrameRoIs]:
        """Apply the fully connected layer before a stage, which attends to the RoIs that are distilled."""
        features = cat_features([rois for frame in frames for rois in frame.attending])
        connected = with_features(frames, F.relu(self.fcs[stage](features)))
        return [replace(frame, window=frame.distilled) for frame in connected]

    def _stage(
        self,
        stage: int,
        frames: Sequence[KeyFrameRoIs],
        remembered: list[tuple[RememberedRoIs, ...]],
        biases: list[PairBias],
        *,
        remember: bool,
    ) -> list[KeyFrameRoIs]:
        """Relate the attending RoIs of key frames to those of their windows and of the memory.

        Args:
            stage: Number of the stage.
            frames: RoIs of each key frame.
            remembered: Frames that the stage remembers of each video; updated.
            biases: Geometry terms from the last key frame of each video; updated.
            remember: Whether videos remember frames of these windows.
        """
        relation = self.local_relations[stage]
        features = cat_features([rois for frame in frames for rois in frame.attending])
        queries = relation.queries(features)
        seen_rois = [rois for frame in frames for rois in frame.window]
        projected = relation.references(
            cat_features(seen_rois), cat_masks([rois.valid for rois in seen_rois])
        )
        attended: list[Tensor] = []
        for frame, query, seen in zip(
            frames,
            queries.split([sum(len(rois.boxes) for rois in frame.attending) for frame in frames]),
            projected.split([sum(len(rois.boxes) for rois in frame.window) for frame in frames]),
            strict=True,
        ):
            memory = remembered[frame.video]
            references = KeysValues.cat([*(past.references for past in memory), seen])
            geometry, bias = biases[frame.video].advance(
                relation,
                frame.key.boxes,
                [rois.boxes for rois in frame.distilled],
                [*(past.boxes for past in memory), *(rois.boxes for rois in frame.window)],
                references.valid,
            )
            key_query, distilled_query = query.tensor_split([len(frame.key.boxes)])
            attended.append(relation.attend(key_query, references, geometry))
            if frame.distilled:
                attended.append(relation.attend(distilled_query, references, bias.bias))
            if self.inference.reuse:
                biases[frame.video] = bias
            if remember and self.method.memory:
                newest = RememberedRoIs(seen.first(len(frame.window[0].boxes)), frame.window[0].boxes)
                remembered[frame.video] = self._remember(memory, newest)
        return with_features(frames, features + torch.cat(attended))

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
        memory = self._without_caches(((),) * self.method.stages)
        if self.method.memory:
            before = KeyFrameInput(0, rois.key.first(0), self._local(frames["memory"]), projected)
            with torch.no_grad():
                _, _, seen = self._aggregate([before], [memory], remember=False)
            memory = self._without_caches(
                tuple(
                    tuple(self._remembered(stage, r) for r in kept.window)
                    for stage, [kept] in enumerate(seen)
                )
            )
        key = KeyFrameInput(0, rois.key, local, projected)
        [x_PD], _, _ = self._aggregate([key], [memory], remember=False)
        return self.all_losses(rois.rpn, rois.sampled, x_PD, clip)

    def _remembered(self, stage: int, rois: RoIs) -> RememberedRoIs:
        references = self.local_relations[stage].references(rois.features, rois.valid)
        return RememberedRoIs(references, rois.boxes)
