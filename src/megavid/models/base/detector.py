"""What every video object detector is: the interface between a method and everything that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, ClassVar, Generic, TypeVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.config import Config
from megavid.core.frames import Image
from megavid.core.profiling import stage
from megavid.core.ranges import MOST_CLASSES
from megavid.core.reference_plans import ReferencePlan, TrainingPlan
from megavid.models.base.clip import Clip, Losses
from megavid.models.base.inference import Inference
from megavid.models.base.prepared import Preparable
from megavid.models.faster_rcnn.backbone import MOST_CHANNELS, Backbone, BackboneConfig
from megavid.models.faster_rcnn.losses import RPNLosses, SampledRoIs, head_losses, rpn_losses, sample_rois
from megavid.models.faster_rcnn.pooling import pool_cells, pool_rois
from megavid.models.faster_rcnn.preprocess import InputConfig, network_input
from megavid.models.faster_rcnn.roi_head import HeadConfig, Prediction, Predictor
from megavid.models.faster_rcnn.rpn import RPN, RPNConfig
from megavid.models.layers.initialize import initialise, near_zero

MOST_FRAMES = 1000
"""The most frames in a window or memory, all of which are kept: 40 times the largest published number, 25."""


class MethodConfig(Config):
    """Base of a method's own settings.

    Attributes:
        name: The method's name in `METHODS`.
        hidden: Width of the RoI features, D.
    """

    name: str
    hidden: int = Field(ge=1, le=MOST_CHANNELS)


MethodConfigT = TypeVar("MethodConfigT", bound=MethodConfig)


class DetectorConfig(Config, Generic[MethodConfigT]):
    """Everything that makes a detector what it is, but for its weights.

    Attributes:
        classes: Names of the classes, background excluded.
        input: Size and normalisation of the network's input.
        backbone: Trunk and conv5.
        rpn: Anchors and proposals.
        head: RoI pooling and the choice of detections.
        method: The method's own settings.
    """

    classes: tuple[str, ...] = Field(strict=False, min_length=1, max_length=MOST_CLASSES)
    input: InputConfig
    backbone: BackboneConfig
    rpn: RPNConfig
    head: HeadConfig
    method: MethodConfigT

    def __reduce__(self) -> Any:
        # Pickle finds a class by its name, which that of a type parameter's value has not.
        return _config_of, (type(self.method), self.model_dump(mode="json"))

    @field_validator("classes")
    @classmethod
    def _names_differ(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted(name for name, count in Counter(classes).items() if count > 1)
        if twice:
            raise ValueError(f"should name each class once, but has {', '.join(twice)} more than once")
        return classes


def _config_of(method: type[MethodConfig], values: dict[str, Any]) -> DetectorConfig[Any]:
    model: Any = DetectorConfig[method]  # type: ignore[valid-type]
    config: DetectorConfig[Any] = model.model_validate(values)
    return config


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """Base of what a method keeps of a frame: a frozen dataclass with tensors in it, computed once.

    Attributes:
        image_size: (height, width) of the network's input.
    """

    image_size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take, bytes."""
        values = (getattr(self, field.name) for field in fields(self))
        return sum(v.nbytes for v in values if isinstance(v, Tensor))


@dataclass(frozen=True, eq=False)
class RoIFeatures(FrameFeatures):
    """A frame's proposals, the most likely first, and their features.

    Attributes:
        proposals: (P, 4), half-open, input pixels.
        features: (P, D).
    """

    proposals: Tensor
    features: Tensor


FeaturesT = TypeVar("FeaturesT", bound=FrameFeatures)
MemoryT = TypeVar("MemoryT")


@dataclass(frozen=True, eq=False)
class Window(Generic[FeaturesT]):
    """The frames a method looks at to detect a key frame.

    Attributes:
        step: How many frames of this video were key frames before.
        key: The key frame.
        local: The local window, oldest first, the key frame among them; it has all the places of the
            reference plan, so near the ends of the video a frame stands in it several times.
        global_frames: The global frames.
    """

    step: int
    key: FeaturesT
    local: Sequence[FeaturesT]
    global_frames: Sequence[FeaturesT]


class VideoDetector(Preparable, ABC, Generic[FeaturesT, MemoryT]):
    """A network that detects the objects of a key frame with the help of other frames.

    It holds weights and nothing else: what is remembered of a video is a value that goes through
    `detect`, so one detector serves many videos at a time. A method implements `plan`, `encode`,
    `initial_memory` and `detect`, and to be trained `training_plan` and `losses`.

    Args:
        config: What to build.

    Attributes:
        fcs: The layers from a pooled RoI to its features D; the first takes what is pooled.
        inference: How it computes at inference (`prepare.prepare`).
        sums_cells: Whether RoIs are pooled and maps warped as weighted sums of cells.
    """

    config_type: ClassVar[type[MethodConfig]]
    """Type of the method's own settings."""

    fcs: nn.ModuleList

    def __init__(self, config: DetectorConfig[MethodConfigT]) -> None:
        super().__init__()
        self.config: DetectorConfig[MethodConfigT] = config
        self.backbone = Backbone(config.backbone)
        self.rpn = RPN(config.rpn, channels=self.backbone.c4_channels, stride=self.backbone.stride)
        self.predictor = Predictor(features=config.method.hidden, classes=len(config.classes))
        self.inference = Inference.plain()
        self.sums_cells = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of labels; background has no label."""
        return self.config.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.predictor.scores.weight.device

    @property
    def pooled_features(self) -> int:
        """Length of a pooled RoI, C5 * pool_size^2."""
        return self.backbone.c5_channels * self.config.head.pool_size**2

    def network_input(self, image: Image) -> Tensor:
        """An RGB uint8 (H, W, 3) frame as the network's input (3, h, w), on the CPU."""
        return network_input(image, self.config.input)

    def autocast(self) -> torch.autocast:
        """The context in which inference computes."""
        dtype = getattr(torch, self.inference.dtype)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32)

    def description(self) -> dict[str, Any]:
        """What it is and how it computes, as JSON values."""
        parts = {"config": self.config, "inference": self.inference}
        return {name: part.model_dump(mode="json") for name, part in parts.items()}

    def insensitive(self) -> list[nn.Module]:
        """The modules, convolutions in the main, whose rounding hardly changes a detection."""
        return [self.backbone.stage5]

    def before_proposals(self) -> list[nn.Module]:
        """The modules, convolutions in the main, that decide where the proposals are."""
        return [self.backbone.trunk, self.rpn]

    def use_sums_of_cells(self) -> None:
        """Pool RoIs and warp maps as sums of cells from now on.

        Of a pooled RoI, bins then come before channels: the weights are arranged accordingly.
        """
        self.sums_cells = True
        first = self.fcs[0]
        assert isinstance(first, nn.Linear)
        by_bin = first.weight.detach().unflatten(1, (self.backbone.c5_channels, -1)).transpose(1, 2)
        first.weight = nn.Parameter(by_bin.flatten(1), requires_grad=False)

    def fully_connected(self, count: int) -> nn.ModuleList:
        """Layers from a pooled RoI to its features D: `count` of them, for `roi_features`."""
        widths = [self.pooled_features] + [self.config.method.hidden] * count
        return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def pooled(self, c4: Tensor, boxes: list[Tensor], layers: Iterable[nn.Module]) -> Tensor:
        """Features of RoIs: pooled from conv5, through layers with a ReLU after each.

        Args:
            c4: (B, C4, h, w).
            boxes: Of each image (P_i, 4), half-open, input pixels.
            layers: Of what `fully_connected` gives, the first ones.

        Returns:
            (sum of P_i, D).
        """
        pool = pool_cells if self.sums_cells else pool_rois
        size, stride = self.config.head.pool_size, self.backbone.stride
        c5 = self.backbone.c5(c4)
        with stage("RoI pooling"):
            x = pool(c5, boxes, pool_size=size, stride=stride)
        with stage("fully connected"):
            for layer in layers:
                x = F.relu(layer(x))
        return x

    def roi_features(
        self, c4: Tensor, image_size: tuple[int, int], layers: Iterable[nn.Module]
    ) -> list[RoIFeatures]:
        """Proposals on a trunk's map with their features.

        Args:
            c4: (B, C4, h, w).
            image_size: (height, width) of the network's input.
            layers: See `pooled`.

        Returns:
            Proposals of each image with their features.
        """
        with stage("RPN"):
            proposals = [p.boxes for p in self.rpn.propose(self.rpn(c4), image_size)]
        features = self.pooled(c4, proposals, layers).split([len(boxes) for boxes in proposals])
        # A copy each, lest one frame that is kept keep the whole batch.
        return [
            RoIFeatures(image_size, boxes, f.clone()) for boxes, f in zip(proposals, features, strict=True)
        ]

    def trunk_rows(self, clip: Clip) -> list[int]:
        """Which of a training clip's frames go through the trunk."""
        return list(range(len(clip.images)))

    def trunk_maps(self, clip: Clip) -> Tensor:
        """The trunk's maps (N, C4, h, w) of a training clip's `trunk_rows`."""
        return clip.maps if clip.maps is not None else self.backbone.c4(clip.images[self.trunk_rows(clip)])

    def through_trunk(self, clips: Sequence[Clip]) -> list[Clip]:
        """Training clips with their maps, those of one size computed as one batch."""
        if len(clips) == 1:
            return list(clips)
        rows = [self.trunk_rows(clip) for clip in clips]
        done: dict[int, Clip] = {}
        for size in dict.fromkeys(clip.image_size for clip in clips):
            chosen = [i for i, clip in enumerate(clips) if clip.image_size == size]
            maps = self.backbone.c4(torch.cat([clips[i].images[rows[i]] for i in chosen]))
            parts = maps.split([len(rows[i]) for i in chosen])
            done |= {i: replace(clips[i], maps=part) for i, part in zip(chosen, parts, strict=True)}
        return [done[i] for i in range(len(clips))]

    def sampled_rois(self, key_c4: Tensor, clip: Clip) -> tuple[RPNLosses, SampledRoIs]:
        """The RPN's losses on the key frame's map (1, C4, h, w), and the RoIs that the head is trained on."""
        output = self.rpn(key_c4)
        [proposals] = self.rpn.propose(output, clip.image_size)
        losses = rpn_losses(output, clip, self.config.rpn)
        return losses, sample_rois(proposals.boxes, clip, self.config.head)

    def all_losses(self, rpn: RPNLosses, rois: SampledRoIs, features: Tensor, clip: Clip) -> Losses:
        """The RPN's losses with the head's, which predicts from the RoIs' features (N, D)."""
        prediction = self.predictor(features, rois.boxes, clip.image_size)
        return Losses(*rpn, *head_losses(prediction, rois))

    @property
    @abstractmethod
    def plan(self) -> ReferencePlan:
        """The frames that `detect` needs."""

    @abstractmethod
    def encode(self, images: Tensor) -> list[FeaturesT]:
        """All that depends on single frames: (B, 3, h, w) network inputs -> features of each."""

    @abstractmethod
    def initial_memory(self) -> MemoryT:
        """What is remembered before a video's first frame."""

    @abstractmethod
    def detect(self, window: Window[FeaturesT], memory: MemoryT) -> tuple[Prediction, MemoryT]:
        """Predictions for the key frame's proposals, and what is remembered for the next key frame."""

    def initialise(self) -> None:
        """Give all layers new random weights, in place, from PyTorch's global random numbers."""
        initialise(self)
        near_zero([self.rpn.conv, self.rpn.objectness, self.rpn.deltas, self.predictor.scores])
        near_zero([self.predictor.deltas], std=0.001)

    def freeze(self, *, stages: int) -> None:
        """Have no gradient for the first stages of the backbone: 2 are conv1 and conv2, as published."""
        for module in self.backbone.first_stages(stages):
            module.requires_grad_(False)

    @property
    @abstractmethod
    def training_plan(self) -> TrainingPlan:
        """The frames that `losses` needs."""

    @abstractmethod
    def losses(self, clip: Clip) -> Losses:
        """What training makes smaller, for the key frame of a clip."""
