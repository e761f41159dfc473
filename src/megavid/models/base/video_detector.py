"""The contract between a detector and everything that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic

import torch
from torch import Tensor, nn

from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.core.frames import FrameSource
from megavid.core.profiling import profile_range
from megavid.core.reference_plans import ReferencePlan, TrainingPlan
from megavid.models.acceleration.accelerate import AccelerationPlan, accelerate
from megavid.models.acceleration.inference import Inference
from megavid.models.acceleration.precision import compute_precision
from megavid.models.base.clip import Clip
from megavid.models.base.detector_config import DetectorConfig
from megavid.models.base.features import FeaturesT, Window
from megavid.models.base.fitting import FittedSettings, Start, TrainingObjects
from megavid.models.base.preparable import Preparable
from megavid.models.base.requests import KeyFrames, MemoryT, PendingDetections, ReadyDetections
from megavid.models.layers.initialize import initialize


class VideoDetector(Preparable, ABC, Generic[FeaturesT, MemoryT]):
    """A network that detects the objects of a key frame with the help of other frames.

    A detector holds only weights. The memory of a video is a value that `detect` takes and returns, so one
    detector can process many videos at a time. An architecture or method implements `plan`, `preprocess`,
    `encode`, `initial_memory`, `detect` and, to be trained, `training_plan` and `losses`.

    Args:
        config: Configuration of the detector.

    Attributes:
        inference: Inference settings in use, which `prepare` sets.
        fixed_shapes: Whether the shapes of features, memories and outputs depend on nothing but the
            configuration and the size of the input, so that a CUDA graph can hold `encode` and `detect`.
    """

    config_type: ClassVar[type[DetectorConfig]]
    """Type of the configuration."""

    for_any_video: ClassVar[bool] = True
    """Whether the detector can be used for any video. Otherwise, it knows the boxes of one, and `check_video`
    refuses others as far as they differ."""

    size_hint: ClassVar[str] = "smaller values in the configuration"
    """Advice on making the network smaller, for the message that it does not fit into memory."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.inference = Inference.plain()
        self.fixed_shapes = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names, in the order of labels; background has no label."""
        return self.config.classes

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def architecture(self) -> str:
        """Short name of the network below the method, for reports and messages."""
        return type(self).__name__

    @property
    @abstractmethod
    def plan(self) -> ReferencePlan:
        """Frames that `detect` needs, and how far back the memory reaches."""

    @abstractmethod
    def preprocess(self, frames: Tensor) -> Tensor:
        """Turn frames into network input, on the device of the frames.

        Args:
            frames: (B, H, W, 3) uint8 RGB.

        Returns:
            (B, 3, h, w): each frame, scaled but not cropped.
        """

    @abstractmethod
    def encode(self, images: Tensor) -> list[FeaturesT]:
        """Compute the features of network inputs (B, 3, h, w): all that depends on a single frame only."""

    @abstractmethod
    def initial_memory(self) -> MemoryT:
        """Memory before the first frame of a video."""

    @abstractmethod
    def detect(
        self, window: Window[FeaturesT], memory: MemoryT, *, score_threshold: float | None = None
    ) -> tuple[Detections, MemoryT]:
        """Detect the objects of the key frame.

        Args:
            window: The key frame and the frames of the reference plan.
            memory: Memory that the call for the previous key frame returned, or else `initial_memory()`.
            score_threshold: Score that detections exceed; None for the configured threshold.

        Returns:
            Detections in pixels of the original frame, highest score first, on the device of the weights; and
            the memory for the next key frame.
        """

    def check_video(self, video: FrameSource | None) -> None:
        """Check that the detector can be used for a video, before it is read; by default, for any.

        Args:
            video: The video; None for a live stream.

        Raises:
            InputError: The detector is for other videos.
        """

    def encode_frames(self, frames: Tensor) -> list[FeaturesT]:
        """Preprocess and encode frames (B, H, W, 3), uint8 RGB, which are on the device of the weights."""
        with profile_range("input"):
            images = self.preprocess(frames)
        with self.precision():
            return self.encode(images)

    def detect_videos(
        self, requests: Sequence[KeyFrames[FeaturesT, MemoryT]]
    ) -> tuple[PendingDetections, list[MemoryT]]:
        """Detect the objects in the next key frames of several videos.

        Args:
            requests: Consecutive key frames of each video.

        Returns:
            The detections, for which an architecture need not wait; and for each request, the memory for the
            video's next key frame.
        """
        detections: list[list[Detections]] = []
        memories: list[MemoryT] = []
        with self.precision(), profile_range("aggregation"):
            for request in requests:
                memory, threshold = request.memory, request.score_threshold
                found: list[Detections] = []
                for window in request.windows:
                    result, memory = self.detect(window, memory, score_threshold=threshold)
                    found.append(result)
                detections.append(found)
                memories.append(memory)
        return ReadyDetections(detections), memories

    @property
    def training_plan(self) -> TrainingPlan:
        """Reference frames that `losses` needs; none by default."""
        return TrainingPlan()

    def losses(self, clip: Clip) -> dict[str, Tensor]:
        """Compute the loss terms of a training clip as named scalars; training minimizes their sum.

        Raises:
            InputError: The detector cannot be trained.
        """
        raise InputError(f"{self.config.method.name}: this detector cannot be trained")

    def batch_losses(self, clips: Sequence[Clip]) -> list[dict[str, Tensor]]:
        """Compute the losses of several clips; an architecture may share work between them."""
        return [self.losses(clip) for clip in clips]

    def initialize(self) -> None:
        """Give all layers new random weights in place, from PyTorch's global generator."""
        initialize(self)

    def freeze(self, *, stages: int) -> None:
        """Exclude the first stages of the backbone from training.

        Raises:
            InputError: The detector has no stages to freeze.
        """
        if stages:
            self._refuse(f"run.frozen_stages: expected 0, got {stages}")

    def use_activation_checkpointing(self, *, enabled: bool) -> None:
        """Choose whether training computes activations again in the backward pass, which saves memory.

        Raises:
            InputError: The detector does not support this.
        """
        if enabled:
            self._refuse("run.activation_checkpointing: expected false, got true")

    def compile_for_training(self) -> None:
        """Have the slowest part of a training step compiled when the first clip is processed.

        Raises:
            InputError: The detector does not support this.
        """
        self._refuse("run.compile: expected false, got true")

    def _refuse(self, problem: str) -> None:
        raise InputError(f"{problem}: {self.config.method.name} has no such part")

    def adapt_classes(self, state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Make this detector's class-specific weights from those of a detector with other classes.

        Args:
            state: State dict of the other detector, which has the same architecture.
            names: Class names of the other detector, in the order of labels.

        Returns:
            The class-specific tensors, with weights from `state` for the classes that both detectors have and
            this detector's own weights for its other classes.

        Raises:
            InputError: The architecture does not support this.
        """
        raise InputError(
            f"{self.config.method.name}: expected weights for the same classes, got {', '.join(names)}"
        )

    def acceleration_plan(self) -> AccelerationPlan:
        """Parts of the network that inference settings apply to; none by default."""
        return AccelerationPlan()

    def prepare(self, inference: Inference) -> None:
        """Change the network in place for fast inference; it cannot be trained, saved or moved afterwards.

        Args:
            inference: Settings to apply. Afterwards, `self.inference` has those that the device supports.

        Raises:
            ValueError: The detector is already prepared.
        """
        if self.is_prepared:
            raise ValueError("the detector was prepared before; load it again to prepare it differently")
        self.is_prepared = True
        self.requires_grad_(False)
        self.inference = accelerate(self, self.acceleration_plan(), inference, device=self.device)

    def precision(self) -> AbstractContextManager[object]:
        """Return the context in which `encode` and `detect` have to be called directly."""
        return compute_precision(self.inference, self.device)

    def description(self) -> dict[str, Any]:
        """Return the architecture, the configuration and the inference settings, as JSON values."""
        parts = {"config": self.config, "inference": self.inference}
        settings = {name: part.model_dump(mode="json") for name, part in parts.items()}
        return {"architecture": self.architecture, **settings}

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
        """Fit settings of the configuration to training data; by default nothing is fitted.

        Args:
            values: Configuration that training would use without fitting, by dotted path.
            objects: Frames and objects to train on.
            given: Values that the user sets, by dotted path; the fitted values have to suit them.
            start: Weights that training starts from.
            small: Whether to choose a small network, which a CPU trains in an hour or two.
        """
        return FittedSettings()

    def frame_bytes(self) -> dict[str, int]:
        """Return the estimated bytes of the largest intermediate results for one frame, by description."""
        return {}

    def unit_pass(self) -> nn.Module | None:
        """Return the network whose pass over one input is the unit of cost in reports; None for no unit."""
        return None
