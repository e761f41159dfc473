"""Faster R-CNN (Ren et al., NeurIPS 2015) with a dilated conv5: the base of the two-stage methods."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core import box_ops
from megavid.core.detections import Detections
from megavid.core.profiling import profile_range
from megavid.models.acceleration.accelerate import AccelerationPlan
from megavid.models.acceleration.kernels import SAMPLING, MapKernels
from megavid.models.base.clip import Clip
from megavid.models.base.features import FeaturesT, FrameFeatures, Window
from megavid.models.base.fitting import FittedSettings, Start, TrainingObjects
from megavid.models.base.requests import KeyFrames, MemoryT, PendingDetections
from megavid.models.base.video_detector import VideoDetector
from megavid.models.faster_rcnn.backbone import Backbone
from megavid.models.faster_rcnn.box_head import BoxHead, HeadOutput
from megavid.models.faster_rcnn.captured_steps import CapturedSteps
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.faster_rcnn.fit_settings import fit_settings
from megavid.models.faster_rcnn.losses import RPNLosses, SampledRoIs, head_losses, rpn_losses, sample_rois
from megavid.models.faster_rcnn.postprocess import postprocess
from megavid.models.faster_rcnn.preprocess import network_input
from megavid.models.faster_rcnn.rpn import RPN
from megavid.models.layers.host_values import take_rows
from megavid.models.layers.initialize import near_zero
from megavid.models.layers.relation import Relation
from megavid.models.layers.typed_list import TypedModuleList

_FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class RoIFeatures(FrameFeatures):
    """Proposals of a frame, best first, with their features.

    Attributes:
        proposals: (P, 4), half-open, input pixels.
        features: (P, D).
        valid: (P,) bool, False for padding, which comes last; None if there is no padding.
    """

    proposals: Tensor
    features: Tensor
    valid: Tensor | None = None

    def as_padding(self) -> Self:
        """Return features of which all proposals are padding."""
        assert self.valid is not None
        return replace(self, valid=torch.zeros_like(self.valid))


class FasterRCNN(VideoDetector[FeaturesT, MemoryT]):
    """Base class for methods based on Faster R-CNN: backbone, RPN, RoI features and box head.

    A method implements `plan`, `encode`, `initial_memory`, `predict` and `losses_from_maps`. If it trains
    with reference frames, it also implements `training_plan`.

    Args:
        config: Configuration of the detector.

    Attributes:
        fcs: Layers that turn a pooled RoI into its D features; the first one takes the pooled RoI.
        kernels: Functions that pool RoIs and warp maps.
    """

    size_hint = (
        "smaller values of backbone.width, method.hidden, head.pool_size, rpn.post_nms_top_n or "
        "input.max_size"
    )

    knows_padding: ClassVar[bool] = False
    """Whether padded RoIs (`RoIs.valid`) get no weight and shapes do not depend on data, for CUDA graphs."""

    config: FasterRCNNConfig
    fcs: TypedModuleList[nn.Module]

    def __init__(self, config: FasterRCNNConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config.backbone)
        self.rpn = RPN(config.rpn, channels=self.backbone.c4_channels, stride=self.backbone.stride)
        self.predictor = BoxHead(features=config.method.hidden, classes=len(config.classes))
        self.kernels: MapKernels = SAMPLING
        self._steps: CapturedSteps[FeaturesT, MemoryT] | None = None

    @property
    def architecture(self) -> str:
        """Name of the backbone."""
        return self.config.backbone.name

    @property
    def pooled_features(self) -> int:
        """Length of a flattened pooled RoI, C5 * pool_size^2."""
        return self.backbone.c5_channels * self.config.head.pool_size**2

    def fully_connected(self, count: int) -> TypedModuleList[nn.Module]:
        """Make `count` layers that turn a pooled RoI into its D features, for `roi_features`."""
        widths = [self.pooled_features] + [self.config.method.hidden] * count
        return TypedModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def preprocess(self, frames: Tensor) -> Tensor:
        """Resize frames (B, H, W, 3), uint8 RGB, to network input (B, 3, h, w): BGR minus the mean."""
        return network_input(frames, self.config.input)

    @abstractmethod
    def predict(self, window: Window[FeaturesT], memory: MemoryT) -> tuple[HeadOutput, MemoryT]:
        """Compute the box head's output for the key frame, and the memory for the next key frame."""

    def detect(
        self, window: Window[FeaturesT], memory: MemoryT, *, score_threshold: float | None = None
    ) -> tuple[Detections, MemoryT]:
        """Predict and post-process; see `VideoDetector.detect`."""
        if self._steps is not None:
            pending, [memory] = self._steps.detect_videos([KeyFrames([window], memory, score_threshold)])
            [[found]] = pending.wait()
            return found.to(self.device), memory
        output, memory = self.predict(window, memory)
        with profile_range("post-processing"):
            # This runs on the CPU, since NMS class by class would synchronize with a GPU many times.
            found = postprocess(
                output.cpu(), self.config.head, self.class_names, score_threshold=score_threshold
            )
            boxes = box_ops.rescale(found.boxes, from_size=output.image_size, to_size=window.frame_size)
            found = replace(found, boxes=boxes)
        return found.to(self.device), memory

    def encode_frames(self, frames: Tensor) -> list[FeaturesT]:
        """Preprocess and encode frames; see `VideoDetector.encode_frames`."""
        if self._steps is None:
            return super().encode_frames(frames)
        with self.precision():
            return self._steps.encode(frames)

    def detect_videos(
        self, requests: Sequence[KeyFrames[FeaturesT, MemoryT]]
    ) -> tuple[PendingDetections, list[MemoryT]]:
        """Detect in several videos; see `VideoDetector.detect_videos`."""
        if self._steps is None:
            return super().detect_videos(requests)
        with self.precision():
            return self._steps.detect_videos(requests)

    def use_fixed_shapes(self) -> None:
        """Keep shapes fixed, and run the detector as captured functions, once it is prepared."""
        self.fixed_shapes = True
        self._steps = CapturedSteps(self)

    def fixed_inputs(self, window: Window[FeaturesT], memory: MemoryT) -> tuple[Window[FeaturesT], MemoryT]:
        """Return equivalent inputs of `predict` that differ in nothing but the values of tensors.

        By default, missing global frames are filled up with padding.
        """
        frames = list(window.global_frames)
        for _ in range(self.plan.global_frames - len(frames)):
            assert isinstance(frames[-1], RoIFeatures)
            frames.append(frames[-1].as_padding())
        size = window.key.image_size
        local = list(window.local)
        return replace(window, step=0, local=local, global_frames=frames, frame_size=size), memory

    def pooled(self, c4: Tensor, boxes: list[Tensor], layers: Iterable[nn.Module]) -> Tensor:
        """Compute features of RoIs: pool them from conv5, then apply layers with a ReLU after each.

        Args:
            c4: (B, C4, h, w), the trunk's maps.
            boxes: (P_i, 4) boxes of each image, half-open, input pixels.
            layers: Leading layers of `fully_connected`.

        Returns:
            (sum of P_i, D).
        """
        c5 = self.backbone.c5(c4)
        with profile_range("RoI pooling"):
            x = self.kernels.pool(
                c5, boxes, pool_size=self.config.head.pool_size, stride=self.backbone.stride
            )
        with profile_range("fully connected"):
            for layer in layers:
                x = F.relu(layer(x))
        return x

    def roi_features(
        self, c4: Tensor, image_size: tuple[int, int], layers: Iterable[nn.Module]
    ) -> list[RoIFeatures]:
        """Find proposals on the trunk's maps and compute their features.

        Args:
            c4: (B, C4, h, w).
            image_size: (height, width) of the network's input.
            layers: Leading layers of `fully_connected`.

        Returns:
            Proposals of each image with their features.
        """
        with profile_range("RPN"):
            proposals, masks = self.rpn.select(self.rpn(c4), image_size, padded=self.fixed_shapes)
        features = self.pooled(c4, proposals, layers).split([len(boxes) for boxes in proposals])
        # Copy each slice, since a stored view would keep the tensors of the whole batch alive.
        return [
            RoIFeatures(image_size, boxes, f.clone(), valid)
            for boxes, f, valid in zip(proposals, features, masks, strict=True)
        ]

    @property
    def pads_clips(self) -> bool:
        """Whether proposals are padded in training, as on a GPU, which would otherwise be waited for."""
        return self.fixed_shapes or (self.knows_padding and self.device.type == "cuda")

    def trunk_rows(self, clip: Clip) -> list[int]:
        """Return the rows of a clip's images that go through the trunk in training; all by default."""
        return list(range(len(clip.images)))

    @abstractmethod
    def losses_from_maps(self, clip: Clip, c4: Tensor) -> dict[str, Tensor]:
        """Compute the losses of a clip.

        Args:
            clip: Training clip.
            c4: (N, C4, h, w), the trunk's maps of `trunk_rows`.

        Returns:
            Result of `all_losses`.
        """

    def losses(self, clip: Clip) -> dict[str, Tensor]:
        """Compute the losses of RPN and head: "objectness", "proposals", "classes" and "boxes"."""
        return self.losses_from_maps(clip, self.backbone.c4(take_rows(clip.images, self.trunk_rows(clip))))

    def batch_losses(self, clips: Sequence[Clip]) -> list[dict[str, Tensor]]:
        """Compute the losses of several clips; images of one size go through the trunk as one batch."""
        if len(clips) == 1:
            return [self.losses(clips[0])]
        images = [take_rows(clip.images, self.trunk_rows(clip)) for clip in clips]
        maps: dict[int, Tensor] = {}
        for size in dict.fromkeys(clip.image_size for clip in clips):
            same = [i for i, clip in enumerate(clips) if clip.image_size == size]
            c4 = self.backbone.c4(torch.cat([images[i] for i in same]))
            maps |= zip(same, c4.split([len(images[i]) for i in same]), strict=True)
        return [self.losses_from_maps(clip, maps[i]) for i, clip in enumerate(clips)]

    def sampled_rois(self, key_c4: Tensor, clip: Clip) -> tuple[RPNLosses, SampledRoIs]:
        """Compute the RPN's losses on the key frame's map (1, C4, h, w) and sample RoIs for the head."""
        output = self.rpn(key_c4)
        [proposals], [valid] = self.rpn.select(output, clip.image_size, padded=self.pads_clips)
        losses = rpn_losses(output, clip, self.config.rpn)
        return losses, sample_rois(proposals, clip, self.config.head, valid=valid)

    def all_losses(
        self, rpn: RPNLosses, rois: SampledRoIs, features: Tensor, clip: Clip
    ) -> dict[str, Tensor]:
        """Join the RPN's losses with those of the head on RoI features (N, D)."""
        classes, boxes = head_losses(self.predictor(features, rois.boxes, clip.image_size), rois)
        return {"objectness": rpn[0], "proposals": rpn[1], "classes": classes, "boxes": boxes}

    def initialize(self) -> None:
        """Give all layers new random weights in place, from PyTorch's global generator."""
        super().initialize()
        near_zero([self.rpn.conv, self.rpn.objectness, self.rpn.deltas, self.predictor.scores])
        near_zero([self.predictor.deltas], std=0.001)

    def freeze(self, *, stages: int) -> None:
        """Freeze the first stages of the backbone; 2 freezes conv1 and conv2, as published."""
        for module in self.backbone.first_stages(stages):
            module.requires_grad_(False)

    def use_activation_checkpointing(self, *, enabled: bool) -> None:
        """Choose whether training computes the backbone's activations again, which saves memory."""
        self.backbone.use_activation_checkpointing(enabled=enabled)

    def compile_for_training(self) -> None:
        """Compile the trunk and conv5."""
        self.backbone.trunk.compile()
        self.backbone.stage5.compile()

    def adapt_classes(self, state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Take the rows of background and of shared classes from another detector's box head."""
        shared = {
            ours + 1: names.index(name) + 1
            for ours, name in enumerate(self.class_names)
            if name and name in names
        }
        prefix = "predictor."
        head = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        adapted = self.predictor.adapt(head, {0: 0} | shared)
        return {prefix + key: value for key, value in adapted.items()}

    def insensitive(self) -> list[nn.Module]:
        """Return the modules, mainly convolutions, whose rounding hardly changes a detection."""
        return [self.backbone.stage5]

    def before_proposals(self) -> list[nn.Module]:
        """Return the modules, mainly convolutions, that decide where the proposals are."""
        return [self.backbone.trunk, self.rpn]

    def acceleration_plan(self) -> AccelerationPlan:
        """Return the parts of backbone, RPN and head that inference settings apply to."""
        relates_positions = any(isinstance(m, Relation) and m.geometry is not None for m in self.modules())
        return AccelerationPlan(
            insensitive=self.insensitive(),
            sensitive=self.before_proposals(),
            filtered=[(self.rpn, "conv")],
            packed=[self.fcs],
            packed_rows=self.config.rpn.post_nms_top_n,
            float32=[self.rpn.objectness, self.rpn.deltas, self.predictor],
            precise=[*self.backbone.leading_layers(), self.rpn.conv] if relates_positions else [],
            use_kernels=self._use_kernels,
            use_fixed_shapes=self.use_fixed_shapes if self.knows_padding else None,
        )

    def _use_kernels(self, kernels: MapKernels) -> None:
        """Switch to other kernels, and reorder the first layer's weights to suit the RoIs that they pool."""
        if kernels.bins_first != self.kernels.bins_first:
            first = self.fcs[0]
            assert isinstance(first, nn.Linear)
            by_bin = first.weight.detach().unflatten(1, (self.backbone.c5_channels, -1)).transpose(1, 2)
            first.weight = nn.Parameter(by_bin.flatten(1), requires_grad=False)
        self.kernels = kernels

    @classmethod
    def fit_settings(
        cls,
        values: Mapping[str, Any],
        objects: TrainingObjects,
        given: Mapping[str, Any],
        *,
        start: Start,
        small: bool = False,
    ) -> FittedSettings:
        """Fit input size, anchors and norm, and choose the optimizer; see `VideoDetector.fit_settings`."""
        return fit_settings(values, objects, given, start=start, small=small)

    def frame_bytes(self) -> dict[str, int]:
        """Estimate the memory of a frame's pooled proposals and of its first map, in bytes."""
        config = self.config
        pooled = _FLOAT_BYTES * config.rpn.post_nms_top_n * self.pooled_features
        first = _FLOAT_BYTES * config.backbone.width * config.input.min_size * config.input.max_size // 4
        return {"pooled proposals of a frame": pooled, "first map of a frame": first}

    def unit_pass(self) -> nn.Module:
        """Return a new trunk (conv1 to conv4) in float32, without any speed-up."""
        return Backbone(self.config.backbone).trunk.to(self.device).eval()
