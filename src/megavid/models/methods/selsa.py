"""SELSA: sequence level semantics aggregation (Wu et al., ICCV 2019).

Shapes: P proposals of the key frame; R reference proposals of each of G global frames; D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from megavid.core.reference_plans import ReferenceGroup, ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip, Losses
from megavid.models.base.detector import MOST_FRAMES, DetectorConfig, RoIFeatures, VideoDetector, Window
from megavid.models.faster_rcnn.relation_cache import of_frames
from megavid.models.faster_rcnn.roi_head import Prediction
from megavid.models.faster_rcnn.roi_relations import RelationConfig, encode_clip
from megavid.models.layers.relation import References, Relation


class SelsaConfig(RelationConfig):
    """Settings of `Selsa`.

    Attributes:
        global_frames: Frames from anywhere in the video (section 3); 21 as published.
    """

    name: Literal["selsa"]
    global_frames: int = Field(ge=1, le=MOST_FRAMES)


SelsaMemory = Mapping[RoIFeatures, tuple[References, ...]]
"""Of each frame in use, its reference proposals as the relation module of each stage projects them."""


class Selsa(VideoDetector[RoIFeatures, SelsaMemory]):
    """RoIs related by what they look like alone, wherever they are, to those of the whole video.

    After each fully connected layer a RoI of the key frame gets what the RoIs of the key frame and of the
    global frames have to say to it (section 3). Those keep their own features.
    """

    config_type = SelsaConfig

    def __init__(self, config: DetectorConfig[SelsaConfig]) -> None:
        super().__init__(config)
        self.method = method = config.method
        self.fcs = self.fully_connected(method.stages)
        self.relations = method.relations(method.stages, geometry=False, query_bias=False)

    @property
    def plan(self) -> ReferencePlan:
        """The global frames."""
        return ReferencePlan(global_frames=self.method.global_frames)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """(B, 3, h, w) -> proposals and RoI features of each."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> SelsaMemory:
        """Nothing: what is remembered saves time alone."""
        return {}

    def detect(self, window: Window[RoIFeatures], memory: SelsaMemory) -> tuple[Prediction, SelsaMemory]:
        """Predictions for the key frame's proposals."""
        key, count = window.key, self.method.reference_proposals
        seen = [key, *window.global_frames]
        projected = of_frames(seen, lambda f: self._projected(f.features[:count]), known=memory)
        x_PD = self._aggregate(key.features, [projected[frame] for frame in seen])
        prediction = self.predictor(x_PD, key.proposals, key.image_size)
        kept = {frame: projected[frame] for frame in window.global_frames}
        return prediction, kept if self.inference.reuse else self.initial_memory()

    def _projected(self, features: Tensor) -> tuple[References, ...]:
        """A frame's reference proposals (R, D), through each stage's layer, as its relation projects them."""
        projected = []
        for stage, relation in enumerate(self._relations()):
            if stage > 0:
                features = F.relu(self.fcs[stage](features))
            projected.append(relation.references(features))
        return tuple(projected)

    def _aggregate(self, x_PD: Tensor, frames: Sequence[tuple[References, ...]]) -> Tensor:
        """The key frame's features (P, D) with what the frames' RoIs say to them, stage by stage."""
        for stage, relation in enumerate(self._relations()):
            if stage > 0:
                x_PD = F.relu(self.fcs[stage](x_PD))
            seen = References.cat(projected[stage] for projected in frames)
            x_PD = x_PD + relation.attend(relation.queries(x_PD), seen)
        return x_PD

    def _relations(self) -> Iterable[Relation]:
        return cast(Iterable[Relation], self.relations)

    @property
    def training_plan(self) -> TrainingPlan:
        """Two frames from anywhere in the video (section 4)."""
        return TrainingPlan((ReferenceGroup(name="global", count=2, anywhere=True),))

    def losses(self, clip: Clip) -> Losses:
        """Of Faster R-CNN on the key frame's RoIs, aggregated over itself and the reference frames."""
        rois = encode_clip(self, clip, self.fcs[:1], proposals=self.method.reference_proposals)
        seen = (0, *clip.references["global"])
        x_PD = self._aggregate(
            rois.key.features, [self._projected(rois.references[row].features) for row in seen]
        )
        return self.all_losses(rois.rpn, rois.sampled, x_PD, clip)
