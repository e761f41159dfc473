"""RDN: relation distillation networks (Deng et al., ICCV 2019), and their basic stage alone, RDN-base.

Shapes: P proposals of the key frame; R reference and A distilled proposals of each of L frames of the
local window; D features; H heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, TypeVar, cast

from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.sampling import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.detection.clip import Clip, Losses
from megavid.detection.detector import DetectorConfig, MethodConfig, RoIFeatures, VideoDetector, Window
from megavid.detection.relations import DistillationConfig, RelationConfig, RoIs, cat, encode_clip, relate
from megavid.detection.roi_head import Prediction
from megavid.nn.relation import Relation


class RdnBaseConfig(RelationConfig):
    """Settings of `RdnBase`."""

    name: Literal["rdn_base"]


class RdnConfig(DistillationConfig):
    """Settings of `Rdn`."""

    name: Literal["rdn"]


RelationConfigT = TypeVar("RelationConfigT", bound=RelationConfig)


class RdnBase(VideoDetector[RoIFeatures, None]):
    """The paper's basic stage: the key frame's RoIs are related to those of the local window."""

    config_type: ClassVar[type[MethodConfig]] = RdnBaseConfig

    def __init__(self, config: DetectorConfig[RelationConfigT]) -> None:
        super().__init__(config)
        self.method: RelationConfig = config.method
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

    def initial_memory(self) -> None:
        """Nothing is remembered."""

    def detect(self, window: Window[RoIFeatures], memory: None) -> tuple[Prediction, None]:
        """Predictions for the key frame's proposals."""
        references = [RoIs.of(f).first(self.method.reference_proposals) for f in window.local]
        key = self._aggregate(RoIs.of(window.key), references)
        return self.predictor(key.features, key.boxes, window.key.image_size), None

    @property
    def training_plan(self) -> TrainingPlan:
        """Two frames of the local window."""
        window = self.method.window
        return TrainingPlan((ReferenceGroup(name="local", count=2, low=-window, high=window),))

    def losses(self, clip: Clip) -> Losses:
        """Of Faster R-CNN on the key frame's RoIs, aggregated over itself and the reference frames."""
        rois = encode_clip(self, clip, self.fcs[:1], proposals=self.method.reference_proposals)
        key = self._aggregate(rois.key, [rois.references[row] for row in (0, *clip.references["local"])])
        return self.all_losses(rois.rpn, rois.sampled, key.features, clip)

    def _aggregate(self, key: RoIs, references: list[RoIs]) -> RoIs:
        """The key frame's RoIs after the basic stage; those of the references stay as they were encoded."""
        seen = cat(references)
        for stage, relation in enumerate(cast(Iterable[Relation], self.relations)):
            if stage > 0:
                key = RoIs(F.relu(self.fcs[stage](key.features)), key.boxes)
            key = relate(relation, key, seen)
        return key


class Rdn(RdnBase):
    """The basic stage, then the paper's advanced one: relations to the best reference RoIs, refined first."""

    config_type = RdnConfig

    def __init__(self, config: DetectorConfig[RdnConfig]) -> None:
        super().__init__(config)
        self.distilled_proposals = config.method.distilled_proposals
        self.advanced_fc = nn.Linear(config.method.hidden, config.method.hidden)
        self.advanced_relations = config.method.relations(2, geometry=True, query_bias=False)

    def _aggregate(self, key: RoIs, references: list[RoIs]) -> RoIs:
        """The key frame's RoIs after both stages."""
        refine, advanced = cast(Iterable[Relation], self.advanced_relations)
        distilled = cat([r.first(self.distilled_proposals) for r in references])
        refined = relate(refine, distilled, cat(references))
        refined = RoIs(F.relu(self.advanced_fc(refined.features)), refined.boxes)
        return relate(advanced, super()._aggregate(key, references), refined)
