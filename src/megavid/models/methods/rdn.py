"""RDN: relation distillation networks (Deng et al., ICCV 2019), and their basic stage alone, RDN-base.

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; D features; H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip, Losses
from megavid.models.base.detector import DetectorConfig, MethodConfig, RoIFeatures, VideoDetector, Window
from megavid.models.faster_rcnn.relation_cache import PairBias, of_frames
from megavid.models.faster_rcnn.roi_head import Prediction
from megavid.models.faster_rcnn.roi_relations import DistillationConfig, RoIs, WindowConfig, cat, encode_clip
from megavid.models.layers.relation import References, Relation, geometry_biases


class RdnBaseConfig(WindowConfig):
    """Settings of `RdnBase`."""

    name: Literal["rdn_base"]


class RdnConfig(DistillationConfig):
    """Settings of `Rdn`."""

    name: Literal["rdn"]


WindowConfigT = TypeVar("WindowConfigT", bound=WindowConfig)


@dataclass(frozen=True, eq=False)
class RdnFrame:
    """What depends on a frame of the window alone.

    Attributes:
        references: Its R reference proposals as the relation modules of the basic stage project them, and
            that which refines the distilled ones.
        boxes: (R, 4), of the reference proposals.
        distilled: The A distilled ones; none in RDN-base.
        queries: (A, H, d), the distilled ones as the refining module projects them; not used in RDN-base.
    """

    references: tuple[References, ...]
    boxes: Tensor
    distilled: RoIs
    queries: Tensor


@dataclass(frozen=True, eq=False)
class RdnMemory:
    """What the next key frame would compute again.

    Attributes:
        frames: Of the window.
        bias: Between distilled and reference proposals.
    """

    frames: Mapping[RoIFeatures, RdnFrame]
    bias: PairBias


class RdnBase(VideoDetector[RoIFeatures, RdnMemory]):
    """The paper's basic stage: the key frame's RoIs are related to those of the local window."""

    config_type: ClassVar[type[MethodConfig]] = RdnBaseConfig

    def __init__(self, config: DetectorConfig[WindowConfigT]) -> None:
        super().__init__(config)
        self.method: WindowConfig = config.method
        self.fcs = self.fully_connected(self.method.stages)
        self.relations = self.method.relations(self.method.stages, geometry=True, query_bias=False)

    @property
    def plan(self) -> ReferencePlan:
        """The local window on both sides of the key frame."""
        return ReferencePlan(past=self.method.window, future=self.method.window)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """(B, 3, h, w) -> proposals and RoI features of each."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> RdnMemory:
        """Nothing: RDN remembers what saves time alone."""
        return RdnMemory({}, PairBias())

    def detect(self, window: Window[RoIFeatures], memory: RdnMemory) -> tuple[Prediction, RdnMemory]:
        """Predictions for the key frame's proposals."""
        count = self.method.reference_proposals
        frames = of_frames(
            window.local, lambda f: self._reference(RoIs.of(f).first(count)), known=memory.frames
        )
        key, bias = self._aggregate(RoIs.of(window.key), [frames[f] for f in window.local], memory.bias)
        prediction = self.predictor(key.features, key.boxes, window.key.image_size)
        return prediction, RdnMemory(frames, bias) if self.inference.reuse else self.initial_memory()

    @property
    def training_plan(self) -> TrainingPlan:
        """Two frames of the local window."""
        window = self.method.window
        return TrainingPlan((ReferenceGroup(name="local", count=2, low=-window, high=window),))

    def losses(self, clip: Clip) -> Losses:
        """Of Faster R-CNN on the key frame's RoIs, aggregated over itself and the reference frames."""
        rois = encode_clip(self, clip, self.fcs[:1], proposals=self.method.reference_proposals)
        frames = [self._reference(rois.references[row]) for row in (0, *clip.references["local"])]
        key, _ = self._aggregate(rois.key, frames, PairBias())
        return self.all_losses(rois.rpn, rois.sampled, key.features, clip)

    def _reference(self, rois: RoIs) -> RdnFrame:
        """A frame of the window from its reference proposals."""
        references = tuple(relation.references(rois.features) for relation in self._basic())
        return RdnFrame(references, rois.boxes, rois.first(0), rois.features[:0])

    def _basic(self) -> Iterable[Relation]:
        return cast(Iterable[Relation], self.relations)

    def _aggregate(self, key: RoIs, frames: Sequence[RdnFrame], bias: PairBias) -> tuple[RoIs, PairBias]:
        """The key frame's RoIs after the basic stage; those of the references stay as they were encoded."""
        biases = geometry_biases(list(self._basic()), key.boxes, torch.cat([f.boxes for f in frames]))
        for stage, relation in enumerate(self._basic()):
            if stage > 0:
                key = RoIs(F.relu(self.fcs[stage](key.features)), key.boxes)
            seen = References.cat(f.references[stage] for f in frames)
            key = key.plus(relation.attend(relation.queries(key.features), seen, biases[stage]))
        return key, bias


class Rdn(RdnBase):
    """The basic stage, then the paper's advanced one: relations to the best reference RoIs, refined first."""

    config_type = RdnConfig

    def __init__(self, config: DetectorConfig[RdnConfig]) -> None:
        super().__init__(config)
        self.distilled_proposals = config.method.distilled_proposals
        self.advanced_fc = nn.Linear(config.method.hidden, config.method.hidden)
        self.advanced_relations = config.method.relations(2, geometry=True, query_bias=False)

    def _reference(self, rois: RoIs) -> RdnFrame:
        frame, distilled = super()._reference(rois), rois.first(self.distilled_proposals)
        refine = cast(Relation, self.advanced_relations[0])
        references = (*frame.references, refine.references(rois.features))
        return RdnFrame(references, rois.boxes, distilled, refine.queries(distilled.features))

    def _aggregate(self, key: RoIs, frames: Sequence[RdnFrame], bias: PairBias) -> tuple[RoIs, PairBias]:
        """The key frame's RoIs after both stages."""
        refine, advanced = cast(Iterable[Relation], self.advanced_relations)
        bias = bias.moved_on(refine, [f.distilled.boxes for f in frames], [f.boxes for f in frames])
        queries = torch.cat([f.queries for f in frames])
        seen = References.cat(f.references[-1] for f in frames)
        refined = cat([f.distilled for f in frames]).plus(refine.attend(queries, seen, bias.bias))
        refined = RoIs(F.relu(self.advanced_fc(refined.features)), refined.boxes)
        key, bias = super()._aggregate(key, frames, bias)
        geometry = advanced.geometry_bias(key.boxes, refined.boxes)
        return key.plus(advanced(key.features, refined.features, geometry)), bias
