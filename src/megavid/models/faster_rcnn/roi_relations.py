"""What methods that relate RoIs of several frames share: settings, and RoIs joined and taken apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from megavid.models.base.clip import Clip
from megavid.models.base.detector import MOST_FRAMES, MethodConfig, RoIFeatures, VideoDetector
from megavid.models.faster_rcnn.losses import RPNLosses, SampledRoIs
from megavid.models.faster_rcnn.rpn import MOST_BOXES
from megavid.models.layers.relation import Relation

MOST_STAGES = 32
"""The most relation stages of a kind; 3 as published."""


class RelationConfig(MethodConfig):
    """Settings of a method that relates the key frame's RoIs to those of other frames.

    Attributes:
        heads: H, of the relation modules; divides `hidden`.
        reference_proposals: R, the first proposals of a reference frame.
        stages: Relation stages.
    """

    heads: int = Field(ge=1)
    reference_proposals: int = Field(ge=1, le=MOST_BOXES)
    stages: int = Field(ge=1, le=MOST_STAGES)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} should be a multiple of heads {self.heads}")
        return self

    def relations(self, count: int, *, geometry: bool, query_bias: bool) -> nn.ModuleList:
        """New relation modules."""
        return nn.ModuleList(
            Relation(features=self.hidden, heads=self.heads, geometry=geometry, query_bias=query_bias)
            for _ in range(count)
        )


class WindowConfig(RelationConfig):
    """Settings of a method that relates the key frame's RoIs to those of a local window.

    Attributes:
        window: Frames before and after the key frame in the local window.
    """

    window: int = Field(ge=0, le=MOST_FRAMES)


class DistillationConfig(WindowConfig):
    """Settings of a method that also refines the best RoIs of the reference frames.

    Attributes:
        distilled_proposals: A, the first of a frame's reference proposals: 20 % as published.
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
    """

    features: Tensor
    boxes: Tensor

    @classmethod
    def of(cls, frame: RoIFeatures) -> Self:
        """A frame's proposals."""
        return cls(frame.features, frame.proposals)

    def first(self, n: int) -> RoIs:
        """The first n, or all where there are fewer."""
        return RoIs(self.features[:n], self.boxes[:n])

    def plus(self, features: Tensor) -> RoIs:
        """The same RoIs with something (N, D) added to their features."""
        return RoIs(self.features + features, self.boxes)


@dataclass(frozen=True, eq=False)
class ClipRoIs:
    """A training clip, encoded.

    Attributes:
        rpn: The RPN's losses on the key frame.
        sampled: The key frame's RoIs that the head is trained on.
        key: The same with their features.
        references: Of each frame of the clip, the key frame first, its best proposals.
    """

    rpn: RPNLosses
    sampled: SampledRoIs
    key: RoIs
    references: list[RoIs]


def encode_clip(
    detector: VideoDetector[Any, Any], clip: Clip, layers: Iterable[nn.Module], *, proposals: int
) -> ClipRoIs:
    """The RoIs of a training clip; each frame goes through the trunk and conv5 once.

    Args:
        detector: Whose backbone, RPN and head it goes through.
        clip: What to encode.
        layers: See `VideoDetector.pooled`.
        proposals: How many of a reference frame's there are at most.
    """
    c4 = detector.trunk_maps(clip)
    rpn, sampled = detector.sampled_rois(c4[:1], clip)
    with torch.no_grad():
        found = detector.rpn.propose(detector.rpn(c4), clip.image_size)
    boxes = [p.boxes[:proposals] for p in found]
    together = [torch.cat((sampled.boxes, boxes[0])), *boxes[1:]]
    features = detector.pooled(c4, together, layers)
    key, *references = features.split([len(sampled.boxes), *(len(b) for b in boxes)])
    rois = [RoIs(f, b) for f, b in zip(references, boxes, strict=True)]
    return ClipRoIs(rpn, sampled, RoIs(key, sampled.boxes), rois)


def cat(parts: Sequence[RoIs]) -> RoIs:
    """All RoIs of several sets."""
    return RoIs(torch.cat([p.features for p in parts]), torch.cat([p.boxes for p in parts]))


def split(features: Tensor, parts: Sequence[RoIs]) -> list[RoIs]:
    """What `cat` joined, with new features (sum of N, D)."""
    chunks = features.split([len(p.boxes) for p in parts])
    return [RoIs(chunk, part.boxes) for chunk, part in zip(chunks, parts, strict=True)]
