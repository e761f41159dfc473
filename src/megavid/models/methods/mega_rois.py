"""RoIs that MEGA relates in a key frame, and those that it remembers.

Shapes: R reference and A distilled proposals of each frame of the local window; H heads of d features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.faster_rcnn.relation_cache import PairBias
from megavid.models.faster_rcnn.roi_relations import RoIs, split
from megavid.models.layers.relation import KeysValues


@dataclass(frozen=True, eq=False)
class LocalFrame:
    """Values that depend on a single frame of the local window.

    Attributes:
        rois: The R reference proposals.
        queries: (R, H, d), reference proposals as projected by the first global relation module.
        distilled: The A distilled proposals, as they are in `rois`.
    """

    rois: RoIs
    queries: Tensor
    distilled: RoIs


@dataclass(frozen=True, eq=False)
class RememberedRoIs:
    """RoIs of one or more frames that left the window, oldest first, for one stage.

    Attributes:
        references: Keys and values of N RoIs.
        boxes: (N, 4), their boxes.
    """

    references: KeysValues
    boxes: Tensor

    @classmethod
    def cat(cls, parts: Sequence[RememberedRoIs]) -> RememberedRoIs:
        """Join the RoIs of several frames."""
        return cls(KeysValues.cat(p.references for p in parts), torch.cat([p.boxes for p in parts]))

    def without_first(self, n: int) -> RememberedRoIs:
        """Return all RoIs but the first n."""
        _, rest = self.references.split([n, len(self.boxes) - n])
        return RememberedRoIs(rest, self.boxes[n:])


@dataclass(frozen=True, eq=False)
class MegaMemory:
    """The long-range memory of a video, and values that the next key frame would otherwise compute again.

    At key frame t, a stage remembers RoIs of the key frames t - M to t - 1 as they entered it, where M is the
    number of remembered frames. They entered it as the stage before had left them, and that depended on what
    that stage remembered at the time, and so on. So the memory of S stages depends on S * M key frames, 75 as
    published. The window of the earliest one begins w frames before it, so a result depends on S * M + w
    frames before its key frame, 87 as published.

    Attributes:
        stages: RoIs of frames that left the window, oldest first, for each stage (section 3.3): an item for
            each frame, or, with fixed shapes, a single item for as many frames as are remembered, at first
            padding.
        local: Values of each frame of the window, by its features.
        global_references: Keys and values of global frames, for each global relation module.
        biases: Geometry terms of pairs of frames, for each stage.
    """

    stages: tuple[tuple[RememberedRoIs, ...], ...]
    local: Mapping[RoIFeatures, LocalFrame]
    global_references: Mapping[RoIFeatures, tuple[KeysValues, ...]]
    biases: tuple[PairBias, ...]


@dataclass(frozen=True, eq=False)
class KeyFrameInput:
    """What the aggregation for a key frame starts from.

    Attributes:
        video: Index of the key frame's video.
        key: RoIs of the key frame.
        local: Frames of the local window, oldest first.
        global_references: Keys and values of each global frame, for each global relation module.
    """

    video: int
    key: RoIs
    local: Sequence[LocalFrame]
    global_references: Sequence[tuple[KeysValues, ...]]


@dataclass(frozen=True, eq=False)
class KeyFrameRoIs:
    """RoIs that a stage relates for a key frame.

    Attributes:
        video: Index of the key frame's video.
        key: RoIs of the key frame.
        window: RoIs of each frame of the local window, to which the others attend.
        distilled: RoIs of each frame of the local window that attend, too; none in the last stage.
    """

    video: int
    key: RoIs
    window: Sequence[RoIs]
    distilled: Sequence[RoIs]

    @property
    def attending(self) -> list[RoIs]:
        """RoIs that attend: those of the key frame, then the distilled ones of each frame."""
        return [self.key, *self.distilled]


def with_features(frames: Sequence[KeyFrameRoIs], features: Tensor) -> list[KeyFrameRoIs]:
    """Give new features (N, D) to all attending RoIs of some key frames."""
    rois = iter(split(features, [rois for frame in frames for rois in frame.attending]))
    return [replace(f, key=next(rois), distilled=list(islice(rois, len(f.distilled)))) for f in frames]
