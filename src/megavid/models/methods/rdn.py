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
from megavid.models.base.features import Window
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN, RoIFeatures
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.faster_rcnn.relation_cache import PairBias, compute_once
from megavid.models.faster_rcnn.roi_relations import DistillationConfig, RoIs, WindowConfig, cat, encode_clip
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


class RdnBase(FasterRCNN[RoIFeatures, RdnMemory]):
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
        return ReferencePlan(past=self.method.window, future=self.method.window)

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        """Compute proposals and RoI features of each image (B, 3, h, w)."""
        image_size = (images.shape[2], images.shape[3])
        return self.roi_features(self.backbone.c4(images), image_size, self.fcs[:1])

    def initial_memory(self) -> RdnMemory:
        """Return an empty memory; memory saves time but does not change what is detected."""
        return RdnMemory({}, PairBias())

    def predict(self, window: Window[RoIFeatures], memory: RdnMemory) -> tuple[HeadOutput, RdnMemory]:
        """Predict from the key frame's aggregated RoIs."""
        count = self.method.reference_proposals
        frames = compute_once(
            window.local,
            lambda some: self._references([RoIs.from_frame(f).first(count) for f in some]),
            known=memory.frames,
        )
        key = RoIs.from_frame(window.key)
        key, bias = self._aggregate(key, [frames[f] for f in window.local], memory.bias)
        output = self.predictor(key.features, key.boxes, window.key.image_size, key.valid)
        return output, RdnMemory(frames, bias) if self.inference.reuse else self.initial_memory()

    @property
    def training_plan(self) -> TrainingPlan:
        """Two reference frames from the local window."""
        window = self.method.window
        return TrainingPlan((ReferenceGroup(name="local", count=2, low=-window, high=window),))

    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses on the key frame's RoIs after they attend to the key and reference frames."""
        rois = encode_clip(self, clip, c4, self.fcs[:1], proposals=self.method.reference_proposals)
        frames = self._references([rois.references[row] for row in (0, *clip.references["local"])])
        key, _ = self._aggregate(rois.key, frames, PairBias())
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

    def _aggregate(self, key: RoIs, frames: Sequence[RdnFrame], bias: PairBias) -> tuple[RoIs, PairBias]:
        """Relate the key frame's RoIs to the reference proposals, whose features stay the same."""
        references = [
            KeysValues.cat(f.references[stage] for f in frames) for stage in range(len(self.relations))
        ]
        boxes = torch.cat([f.boxes for f in frames])
        biases = self.relations[0].biases(list(self.relations), key.boxes, boxes, references[0].valid)
        for stage, relation in enumerate(self.relations):
            if stage > 0:
                key = key.with_features(F.relu(self.fcs[stage](key.features)))
            attended = relation.attend(relation.queries(key.features), references[stage], biases[stage])
            key = key.plus(attended)
        return key, bias


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
        queries = refine.queries(cat(distilled).features).split([len(rois.boxes) for rois in distilled])
        return [
            RdnFrame(r, rois.boxes, best, q)
            for r, rois, best, q in zip(references, frames, distilled, queries, strict=True)
        ]

    def _aggregate(self, key: RoIs, frames: Sequence[RdnFrame], bias: PairBias) -> tuple[RoIs, PairBias]:
        """Apply both stages to the key frame's RoIs."""
        refine, advanced = self.advanced_relations
        queries = torch.cat([f.queries for f in frames])
        references = KeysValues.cat(f.references[-1] for f in frames)
        boxes = [f.boxes for f in frames]
        _, bias = bias.advance(
            refine, key.first(0).boxes, [f.distilled.boxes for f in frames], boxes, references.valid
        )
        refined = cat([f.distilled for f in frames]).plus(refine.attend(queries, references, bias.bias))
        refined = refined.with_features(F.relu(self.advanced_fc(refined.features)))
        key, bias = super()._aggregate(key, frames, bias)
        geometry = advanced.geometry_bias(key.boxes, refined.boxes, refined.valid)
        references = advanced.references(refined.features, refined.valid)
        return key.plus(advanced.attend(advanced.queries(key.features), references, geometry)), bias
