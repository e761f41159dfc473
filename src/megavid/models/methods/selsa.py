"""SELSA: sequence level semantics aggregation (Wu et al., ICCV 2019).

Shapes: P proposals of the key frame; R reference proposals of each of G global frames; D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from megavid.models.faster_rcnn.relation_cache import compute_once, merged
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


class Selsa(BatchedFasterRCNN[RoIFeatures, SelsaMemory]):
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
        return ReferencePlan(global_frames=self.method.global_frames, reach=0)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """Compute proposals and RoI features of each image (B, 3, h, w)."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> SelsaMemory:
        """Return an empty memory; memory saves time but does not change what is detected."""
        return {}

    def predict_batch(
        self, requests: Sequence[KeyFrames[RoIFeatures, SelsaMemory]]
    ) -> tuple[list[HeadOutput], list[SelsaMemory]]:
        """Predict from the key frames' aggregated features."""
        count = self.method.reference_proposals
        windows = [window for request in requests for window in request.windows]
        projected = compute_once(
            (frame for window in windows for frame in (window.key, *window.global_frames)),
            lambda frames: self._project([RoIs.from_frame(f).first(count) for f in frames]),
            known=merged(request.memory for request in requests),
        )
        features = self._aggregate(
            [window.key.features for window in windows],
            [[projected[frame] for frame in (window.key, *window.global_frames)] for window in windows],
        )
        outputs = self.head_outputs(features, [window.key for window in windows])
        if not self.inference.reuse:
            return outputs, [self.initial_memory() for _ in requests]
        kept = [{frame: projected[frame] for frame in r.windows[-1].global_frames} for r in requests]
        return outputs, [*kept]

    def _project(self, frames: Sequence[RoIs]) -> list[tuple[KeysValues, ...]]:
        """Compute keys and values of frames' reference proposals for each stage."""
        joined, counts = cat(frames), [len(rois.boxes) for rois in frames]
        features, projected = joined.features, []
        for stage, relation in enumerate(self.relations):
            if stage > 0:
                features = F.relu(self.fcs[stage](features))
            projected.append(relation.references(features, joined.valid).split(counts))
        return list(zip(*projected, strict=True))

    def _aggregate(
        self, keys: Sequence[Tensor], windows: Sequence[Sequence[tuple[KeysValues, ...]]]
    ) -> list[Tensor]:
        """Let the features (P, D) of key frames attend to the RoIs of their windows, stage by stage.

        Args:
            keys: Features of each key frame.
            windows: Keys and values of each frame of each window, for each stage.
        """
        x, counts = torch.cat(list(keys)), [len(key) for key in keys]
        for stage, relation in enumerate(self.relations):
            if stage > 0:
                x = F.relu(self.fcs[stage](x))
            attended = [
                relation.attend(query, KeysValues.cat(projected[stage] for projected in frames))
                for query, frames in zip(relation.queries(x).split(counts), windows, strict=True)
            ]
            x = x + torch.cat(attended)
        return [*x.split(counts)]

    @property
    def training_plan(self) -> TrainingPlan:
        """Two reference frames from anywhere in the video (section 4)."""
        return TrainingPlan((ReferenceGroup(name="global", count=2, anywhere=True),))

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses on the key frame's RoIs after they attend to the key and reference frames."""
        rois = encode_clip(self, clip, c4, self.fcs[:1], proposals=self.method.reference_proposals)
        rows = (0, *clip.references["global"])
        projected = self._project([rois.references[row] for row in rows])
        [x_PD] = self._aggregate([rois.key.features], [projected])
        return self.all_losses(rois.rpn, rois.sampled, x_PD, clip)
