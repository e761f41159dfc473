"""SELSA: sequence level semantics aggregation (Wu et al., ICCV 2019).

Shapes: P proposals of the key frame; R reference proposals of each of G global frames; D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

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
from megavid.models.faster_rcnn.relation_cache import compute_once
from megavid.models.faster_rcnn.roi_relations import RelationConfig, RoIs, cat, encode_clip
from megavid.models.layers.relation import KeysValues


class SelsaConfig(RelationConfig):
    """Settings of `Selsa`.

    Attributes:
        global_frames: Number of frames from anywhere in the video (section 3); 21 as published.
    """

    name: Literal["selsa"]
    global_frames: int = Field(ge=1, le=MOST_FRAMES)


SelsaMemory = Mapping[RoIFeatures, tuple[KeysValues, ...]]
"""Keys and values of the reference proposals of each global frame in use, for each stage."""


class Selsa(FasterRCNN[RoIFeatures, SelsaMemory]):
    """Attention, by appearance alone, from the key frame's RoIs to RoIs of frames from the whole video.

    After each fully connected layer, the key frame's RoIs attend to the reference proposals of the key frame
    and of the global frames (section 3). Attention does not change the features of reference proposals.
    """

    config_type = FasterRCNNConfig[SelsaConfig]
    knows_padding = True

    def __init__(self, config: FasterRCNNConfig[SelsaConfig]) -> None:
        super().__init__(config)
        self.method = method = config.method
        self.fcs = self.fully_connected(method.stages)
        self.relations = method.relations(method.stages, geometry=False, query_bias=False)

    @property
    def plan(self) -> ReferencePlan:
        """The global frames."""
        return ReferencePlan(global_frames=self.method.global_frames)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """Compute proposals and RoI features of each image (B, 3, h, w)."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> SelsaMemory:
        """Return an empty memory; memory saves time but does not change what is detected."""
        return {}

    def predict(self, window: Window[RoIFeatures], memory: SelsaMemory) -> tuple[HeadOutput, SelsaMemory]:
        """Predict from the key frame's aggregated features."""
        key, count = window.key, self.method.reference_proposals
        frames = [key, *window.global_frames]
        projected = compute_once(
            frames, lambda some: self._project([RoIs.from_frame(f).first(count) for f in some]), known=memory
        )
        x_PD = self._aggregate(key.features, [projected[frame] for frame in frames])
        output = self.predictor(x_PD, key.proposals, key.image_size, key.valid)
        kept = {frame: projected[frame] for frame in window.global_frames}
        return output, kept if self.inference.reuse else self.initial_memory()

    def _project(self, frames: Sequence[RoIs]) -> list[tuple[KeysValues, ...]]:
        """Compute keys and values of frames' reference proposals for each stage."""
        joined, counts = cat(frames), [len(rois.boxes) for rois in frames]
        features, projected = joined.features, []
        for stage, relation in enumerate(self.relations):
            if stage > 0:
                features = F.relu(self.fcs[stage](features))
            projected.append(relation.references(features, joined.valid).split(counts))
        return list(zip(*projected, strict=True))

    def _aggregate(self, x_PD: Tensor, frames: Sequence[tuple[KeysValues, ...]]) -> Tensor:
        """Let the key frame's features (P, D) attend to the RoIs of all frames, stage by stage."""
        for stage, relation in enumerate(self.relations):
            if stage > 0:
                x_PD = F.relu(self.fcs[stage](x_PD))
            references = KeysValues.cat(projected[stage] for projected in frames)
            x_PD = x_PD + relation.attend(relation.queries(x_PD), references)
        return x_PD

    @property
    def training_plan(self) -> TrainingPlan:
        """Two reference frames from anywhere in the video (section 4)."""
        return TrainingPlan((ReferenceGroup(name="global", count=2, anywhere=True),))

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses on the key frame's RoIs after they attend to the key and reference frames."""
        rois = encode_clip(self, clip, c4, self.fcs[:1], proposals=self.method.reference_proposals)
        rows = (0, *clip.references["global"])
        x_PD = self._aggregate(rois.key.features, self._project([rois.references[row] for row in rows]))
        return self.all_losses(rois.rpn, rois.sampled, x_PD, clip)
