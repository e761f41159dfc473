"""RDN: relation distillation networks (Deng et al., ICCV 2019), and RDN-base, the basic stage of RDN alone.

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; D features; H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip
from megavid.models.base.detector_config import DetectorConfig
from megavid.models.base.requests import KeyFrames
from megavid.models.faster_rcnn.batched_faster_rcnn import BatchedFasterRCNN
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.faster_rcnn.relation_cache import PairBias, compute_once, merged
from megavid.models.faster_rcnn.roi_relations import (
    DistillationConfig,
    RoIs,
    WindowConfig,
    cat,
    cat_features,
    encode_clip,
    split,
)
from megavid.models.layers.relation import KeysValues, Relation


class RdnBaseConfig(WindowConfig):
    """Settings of `RdnBase`."""

    name: Literal["rdn_base"]


class RdnConfig(DistillationConfig):
    """Settings of `Rdn`."""

    name: Literal["rdn"]


@dataclass(frozen=True, eq=False)
class RdnFrame:
    """Values that depend on a single frame of the window.

    Attributes:
        references: Keys and values of the R reference proposals, for each relation module of the basic stage
            and, in RDN, for the module that refines the distilled proposals.
        boxes: (R, 4), boxes of the reference proposals.
        distilled: The A distilled proposals; none in RDN-base.
        queries: (A, H, d), distilled proposals as projected by the refining module; empty in RDN-base.
    """

    references: tuple[KeysValues, ...]
    boxes: Tensor
    distilled: RoIs
    queries: Tensor


@dataclass(frozen=True, eq=False)
class RdnMemory:
    """Values that the next key frame would otherwise compute again.

    Attributes:
        frames: Values of each frame of the window, by its features.
        bias: Geometry terms between distilled and reference proposals.
    """

    frames: Mapping[RoIFeatures, RdnFrame]
    bias: PairBias


@dataclass(frozen=True, eq=False)
class RdnInput:
    """What the aggregation for a key frame starts from.

    Attributes:
        video: Index of the key frame's video.
        key: RoIs of the key frame.
        local: Frames of the local window, oldest first.
    """

    video: int
    key: RoIs
    local: Sequence[RdnFrame]

    @property
    def boxes(self) -> Tensor:
        """Boxes of the reference proposals of all frames."""
        return torch.cat([frame.boxes for frame in self.local])


class RdnBase(BatchedFasterRCNN[RoIFeatures, RdnMemory]):
    """The paper's basic stage: RoIs of the key frame attend to those of the local window."""

    config_type: ClassVar[type[DetectorConfig]] = FasterRCNNConfig[RdnBaseConfig]
    knows_padding = True

    def __init__(self, config: FasterRCNNConfig) -> None:
        super().__init__(config)
        self.method: WindowConfig = config.method
        self.fcs = self.fully_connected(self.method.stages)
        self.relations = self.method.relations(self.method.stages, geometry=True, query_bias=False)

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame."""
        return ReferencePlan(past=self.method.window, future=self.method.window, reach=0)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """Compute proposals and RoI features of each image (B, 3, h, w)."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> RdnMemory:
        """Return an empty memory; memory saves time but does not change what is detected."""
        return RdnMemory({}, PairBias())

    def predict_batch(
        self, requests: Sequence[KeyFrames[RoIFeatures, RdnMemory]]
    ) -> tuple[list[HeadOutput], list[RdnMemory]]:
        """Predict from the key frames' aggregated RoIs."""
        count = self.method.reference_proposals
        windows = [(video, window) for video, request in enumerate(requests) for window in request.windows]
        frames = compute_once(
            (frame for _, window in windows for frame in window.local),
            lambda some: self._references([RoIs.from_frame(f).first(count) for f in some]),
            known=merged(request.memory.frames for request in requests),
        )
        biases = [request.memory.bias for request in requests]
        inputs = [
            RdnInput(video, RoIs.from_frame(window.key), [frames[frame] for frame in window.local])
            for video, window in windows
        ]
        keys = self._aggregate(inputs, biases)
        outputs = self.head_outputs([rois.features for rois in keys], [window.key for _, window in windows])
        if not self.inference.reuse:
            return outputs, [self.initial_memory() for _ in requests]
        kept = [{frame: frames[frame] for frame in request.windows[-1].local} for request in requests]
        return outputs, list(map(RdnMemory, kept, biases))

    @property
    def training_plan(self) -> TrainingPlan:
        """Two reference frames from the local window."""
        window = self.method.window
        return TrainingPlan((ReferenceGroup(name="local", count=2, low=-window, high=window),))

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses on the key frame's RoIs after they attend to the key and reference frames."""
        rois = encode_clip(self, clip, c4, self.fcs[:1], proposals=self.method.reference_proposals)
        frames = self._references([rois.references[row] for row in (0, *clip.references["local"])])
        [key] = self._aggregate([RdnInput(0, rois.key, frames)], [PairBias()])
        return self.all_losses(rois.rpn, rois.sampled, key.features, clip)

    def _references(self, frames: Sequence[RoIs]) -> list[RdnFrame]:
        """Compute the values of frames of the window from their reference proposals."""
        references = self._keys_and_values(self.relations, frames)
        return [
            RdnFrame(r, rois.boxes, rois.first(0), rois.features[:0])
            for r, rois in zip(references, frames, strict=True)
        ]

    def _keys_and_values(
        self, relations: Iterable[Relation], frames: Sequence[RoIs]
    ) -> list[tuple[KeysValues, ...]]:
        """Compute keys and values of each frame's RoIs for each of some relation modules."""
        joined, counts = cat(frames), [len(rois.boxes) for rois in frames]
        projected = [r.references(joined.features, joined.valid).split(counts) for r in relations]
        return list(zip(*projected, strict=True))

    def _aggregate(self, inputs: Sequence[RdnInput], biases: list[PairBias]) -> list[RoIs]:
        """Relate the key frames' RoIs to the reference proposals, whose features stay the same.

        Args:
            inputs: Key frames with their windows.
            biases: Geometry terms from the last key frame of each video; updated.
        """
        references = [
            [KeysValues.cat(f.references[stage] for f in frame.local) for frame in inputs]
            for stage in range(len(self.relations))
        ]
        geometry = [
            self.relations[0].biases(list(self.relations), frame.key.boxes, frame.boxes, seen.valid)
            for frame, seen in zip(inputs, references[0], strict=True)
        ]
        keys = [frame.key for frame in inputs]
        x, counts = cat_features(keys), [len(key.boxes) for key in keys]
        for stage, relation in enumerate(self.relations):
            if stage > 0:
                x = F.relu(self.fcs[stage](x))
            queries = relation.queries(x).split(counts)
            attended = [
                relation.attend(query, seen, terms[stage])
                for query, seen, terms in zip(queries, references[stage], geometry, strict=True)
            ]
            x = x + torch.cat(attended)
        return split(x, keys)


class Rdn(RdnBase):
    """The basic stage, then the paper's advanced stage: attention to refined RoIs of reference frames."""

    config_type = FasterRCNNConfig[RdnConfig]

    def __init__(self, config: FasterRCNNConfig[RdnConfig]) -> None:
        super().__init__(config)
        self.distilled_proposals = config.method.distilled_proposals
        self.advanced_fc = nn.Linear(config.method.hidden, config.method.hidden)
        self.advanced_relations = config.method.relations(2, geometry=True, query_bias=False)

    def _references(self, frames: Sequence[RoIs]) -> list[RdnFrame]:
        refine = self.advanced_relations[0]
        references = self._keys_and_values((*self.relations, refine), frames)
        distilled = [rois.first(self.distilled_proposals) for rois in frames]
        queries = refine.queries(cat_features(distilled)).split([len(rois.boxes) for rois in distilled])
        return [
            RdnFrame(r, rois.boxes, best, q)
            for r, rois, best, q in zip(references, frames, distilled, queries, strict=True)
        ]

    def _aggregate(self, inputs: Sequence[RdnInput], biases: list[PairBias]) -> list[RoIs]:
        """Apply both stages to the key frames' RoIs."""
        refine, advanced = self.advanced_relations
        refined: list[RoIs] = []
        for frame in inputs:
            all_references = KeysValues.cat(f.references[-1] for f in frame.local)
            _, bias = biases[frame.video].advance(
                refine,
                frame.key.first(0).boxes,
                [f.distilled.boxes for f in frame.local],
                [f.boxes for f in frame.local],
                all_references.valid,
            )
            attended = refine.attend(torch.cat([f.queries for f in frame.local]), all_references, bias.bias)
            refined.append(cat([f.distilled for f in frame.local]).plus(attended))
            if self.inference.reuse:
                biases[frame.video] = bias
        refined = split(F.relu(self.advanced_fc(cat_features(refined))), refined)
        joined, counts = cat(refined), [len(rois.boxes) for rois in refined]
        references = advanced.references(joined.features, joined.valid).split(counts)
        keys = super()._aggregate(inputs, biases)
        queries = advanced.queries(cat_features(keys)).split([len(key.boxes) for key in keys])
        return [
            key.plus(advanced.attend(query, seen, advanced.geometry_bias(key.boxes, rois.boxes, rois.valid)))
            for key, query, seen, rois in zip(keys, queries, references, refined, strict=True)
        ]
