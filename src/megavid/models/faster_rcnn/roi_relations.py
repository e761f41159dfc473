"""Settings and RoI containers of the methods that relate RoIs of several frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from megavid.models.base.clip import Clip
from megavid.models.base.detector_config import MOST_FRAMES
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN, RoIFeatures
from megavid.models.faster_rcnn.faster_rcnn_config import RoIMethodConfig
from megavid.models.faster_rcnn.losses import PADDING, RPNLosses, SampledRoIs
from megavid.models.faster_rcnn.rpn import MOST_BOXES
from megavid.models.layers.relation import Relation, cat_masks
from megavid.models.layers.typed_list import TypedModuleList

MOST_STAGES = 32
"""Upper limit on the number of relation stages of one kind; published models have at most 3."""


class RelationConfig(RoIMethodConfig):
    """Settings of a method that relates the key frame's RoIs to those of other frames.

    Attributes:
        heads: H, number of heads of a relation module; has to divide `hidden`.
        reference_proposals: R, number of best proposals that are used of each reference frame.
        stages: Number of relation stages.
    """

    heads: int = Field(ge=1)
    reference_proposals: int = Field(ge=1, le=MOST_BOXES)
    stages: int = Field(ge=1, le=MOST_STAGES)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} should be a multiple of heads {self.heads}")
        return self

    def relations(self, count: int, *, geometry: bool, query_bias: bool) -> TypedModuleList[Relation]:
        """Make `count` relation modules; see `Relation`."""
        return TypedModuleList(
            Relation(features=self.hidden, heads=self.heads, geometry=geometry, query_bias=query_bias)
            for _ in range(count)
        )


class WindowConfig(RelationConfig):
    """Settings of a method that relates the key frame's RoIs to those of a local window.

    Attributes:
        window: Number of frames on each side of the key frame in the local window.
    """

    window: int = Field(ge=0, le=MOST_FRAMES)


class DistillationConfig(WindowConfig):
    """Settings of a method that also refines the best RoIs of reference frames.

    Attributes:
        distilled_proposals: A, number of best reference proposals that are refined of each frame; 20 % of R
            as published.
    """

    distilled_proposals: int = Field(ge=1)

    @model_validator(mode="after")
    def _distilled_fit(self) -> Self:
        if self.distilled_proposals > self.reference_proposals:
            raise ValueError(
                f"distilled_proposals {self.distilled_proposals} should not exceed "
                f"reference_proposals {self.reference_proposals}"
            )
        return self


@dataclass(frozen=True, eq=False)
class RoIs:
    """RoIs with their features.

    Attributes:
        features: (N, D).
        boxes: (N, 4), half-open, input pixels.
        valid: (N,) bool, False for padding; None if there is no padding.
    """

    features: Tensor
    boxes: Tensor
    valid: Tensor | None = None

    @classmethod
    def from_frame(cls, frame: RoIFeatures) -> Self:
        """Make RoIs from the proposals of a frame."""
        return cls(frame.features, frame.proposals, frame.valid)

    def first(self, n: int) -> RoIs:
        """Return the first n RoIs, or all if there are fewer."""
        return RoIs(self.features[:n], self.boxes[:n], None if self.valid is None else self.valid[:n])

    def plus(self, features: Tensor) -> RoIs:
        """Return the RoIs with `features` (N, D) added to their own."""
        return self.with_features(self.features + features)

    def copy_boxes(self) -> RoIs:
        """Return the same RoIs with copied boxes, which do not keep those of other RoIs in memory."""
        return RoIs(self.features, self.boxes.clone(), self.valid)

    def with_features(self, features: Tensor) -> RoIs:
        """Return the same RoIs with other features (N, D)."""
        return RoIs(features, self.boxes, self.valid)


@dataclass(frozen=True, eq=False)
class ClipRoIs:
    """RoIs of a training clip.

    Attributes:
        rpn: Losses of the RPN on the key frame.
        sampled: RoIs of the key frame that the head is trained on.
        key: The RoIs of `sampled` with their features.
        references: Best proposals of each frame of the clip, the key frame first.
    """

    rpn: RPNLosses
    sampled: SampledRoIs
    key: RoIs
    references: list[RoIs]


def encode_clip(
    detector: FasterRCNN, clip: Clip, c4: Tensor, layers: Iterable[nn.Module], *, proposals: int
) -> ClipRoIs:
    """Find the RoIs of a training clip and compute their features; each frame goes through conv5 once.

    Args:
        detector: Detector in training.
        clip: Training clip.
        c4: (U, C4, h, w), the trunk's maps of all frames of the clip.
        layers: Leading layers of `FasterRCNN.fully_connected`.
        proposals: Maximum number of proposals per frame.
    """
    rpn, sampled = detector.sampled_rois(c4[:1], clip)
    with torch.no_grad():
        found = detector.rpn.select(detector.rpn(c4), clip.image_size, padded=detector.pads_clips)
    boxes = [best[:proposals] for best in found[0]]
    masks = [None if valid is None else valid[:proposals] for valid in found[1]]
    together = [torch.cat((sampled.boxes, boxes[0])), *boxes[1:]]
    features = detector.pooled(c4, together, layers)
    key, *references = features.split([len(sampled.boxes), *(len(b) for b in boxes)])
    key_mask = sampled.labels != PADDING if detector.pads_clips else None
    rois = [RoIs(*reference) for reference in zip(references, boxes, masks, strict=True)]
    return ClipRoIs(rpn, sampled, RoIs(key, sampled.boxes, key_mask), rois)


def cat(parts: Sequence[RoIs]) -> RoIs:
    """Join several sets of RoIs."""
    return RoIs(
        cat_features(parts),
        torch.cat([p.boxes for p in parts]),
        cat_masks([p.valid for p in parts]),
    )


def cat_features(parts: Sequence[RoIs]) -> Tensor:
    """Join the features of several sets of RoIs, (sum of N, D)."""
    return torch.cat([p.features for p in parts])


def split(features: Tensor, parts: Sequence[RoIs]) -> list[RoIs]:
    """Split new features (sum of N, D) of joined RoIs into the sets that `cat` joined."""
    chunks = features.split([len(p.boxes) for p in parts])
    return [part.with_features(chunk) for chunk, part in zip(chunks, parts, strict=True)]
