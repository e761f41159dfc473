"""The adapter that makes a video detector of any detector of single frames."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from megavid.core.config import Number
from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.core.profiling import profile_range
from megavid.core.reference_plans import ReferencePlan
from megavid.models.acceleration.inference import Inference
from megavid.models.base.detector_config import DetectorConfig, MethodConfig
from megavid.models.base.features import FrameFeatures, Window
from megavid.models.base.video_detector import VideoDetector


class AdapterConfig(MethodConfig):
    """Settings that the detectors of all libraries have.

    Attributes:
        score_threshold: Detections have a score above this, unless a call sets another threshold. The default
            is the lowest score that linkers use by default (`LinkerConfig.min_score`).
    """

    score_threshold: Number = Field(default=0.001, ge=0, lt=1)


@dataclass(frozen=True, eq=False)
class FoundObjects(FrameFeatures):
    """What a detector found in a frame: the fields of `Detections`, highest score first."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    class_scores: Tensor | None


class FrameAdapter(VideoDetector[FoundObjects, None]):
    """A detector that looks at single frames and gives boxes, as a `VideoDetector`.

    `encode` runs the library's network on a batch of frames, `detect` applies the threshold. A subclass
    implements `find`.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        self.settings: AdapterConfig = config.method

    @abstractmethod
    def find(self, images: Tensor) -> Sequence[Detections]:
        """Detect in each frame of a batch.

        Args:
            images: (B, 3, H, W) uint8 RGB, on the device of the detector.

        Returns:
            Detections in each frame, in pixels of that frame, in any order.
        """

    def compiled_modules(self) -> list[nn.Module]:
        """Return the modules that `Inference.compile` applies to; none by default."""
        return []

    @property
    def lowest_threshold(self) -> float:
        """Lowest score threshold that `detect` accepts: below it, `find` gives no boxes."""
        return 0.0

    @property
    def plan(self) -> ReferencePlan:
        """The key frame alone."""
        return ReferencePlan(reach=0)

    def preprocess(self, frames: Tensor) -> Tensor:
        """Put channels first: (B, H, W, 3) -> (B, 3, H, W), uint8 RGB. The library does the rest."""
        return frames.permute(0, 3, 1, 2)

    def encode(self, images: Tensor) -> list[FoundObjects]:
        """Detect in each frame of (B, 3, H, W), uint8 RGB."""
        with profile_range("network"):
            found = self.find(images)
        if len(found) != len(images):
            raise InputError(
                f"{self.architecture}: expected detections in {len(images)} frames, got {len(found)}"
            )
        size = (images.shape[2], images.shape[3])
        return [found_objects(one, size, self.device) for one in found]

    def initial_memory(self) -> None:
        """Return None: there is no memory."""
        return

    def detect(
        self, window: Window[FoundObjects], memory: None, *, score_threshold: float | None = None
    ) -> tuple[Detections, None]:
        """Return what was found in the key frame with a score above the threshold.

        Raises:
            InputError: The threshold is so low that the network did not give all boxes above it.
        """
        threshold = self.settings.score_threshold if score_threshold is None else score_threshold
        if threshold < self.lowest_threshold:
            raise InputError(
                f"score_threshold: expected at least method.score_threshold, {self.lowest_threshold:g}, as "
                f"{self.architecture} drops all boxes below that, got {threshold:g}; set both"
            )
        key = window.key
        found = Detections(key.boxes, key.scores, key.labels, self.class_names, class_scores=key.class_scores)
        return found[key.scores > threshold], None

    def prepare(self, inference: Inference) -> None:
        """Set the dtype and compile, if asked to. Weights stay in float32; autocast rounds them.

        Args:
            inference: Settings to apply. Speed-ups other than `compile` are for megavid's own networks and
                are turned off in `self.inference`.

        Raises:
            InputError: The settings ask for what this detector cannot do.
            ValueError: The detector is already prepared.
        """
        if self.is_prepared:
            raise ValueError("the detector was prepared before; load it again to prepare it differently")
        if inference.loose and self.device.type != "cuda":
            self._refuse(f"inference.loose: expected false on {self.device.type}, got true")
        modules = self.compiled_modules()
        if inference.compile and not modules:
            self._refuse("inference.compile: expected false, got true")
        self.is_prepared = True
        self.requires_grad_(False)
        kept = {"loose": inference.loose, "compile": inference.compile}
        self.inference = Inference.plain(dtype=inference.dtype).model_copy(update=kept)
        if inference.compile:
            for module in modules:
                module.forward = torch.compile(module.forward, dynamic=False)


def found_objects(found: Detections, size: tuple[int, int], device: torch.device) -> FoundObjects:
    """Clip boxes to the frame, drop those outside it, and sort by descending score.

    Args:
        found: Detections in a frame, in any order.
        size: (height, width) of the frame.
        device: Device of the result.
    """
    height, width = size
    found = found.to(device)
    boxes = found.boxes.float()
    boxes = torch.stack((boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)), dim=2).flatten(1)
    scores = found.scores.float()
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    order = scores.argsort(descending=True, stable=True)
    order = order[inside[order]]
    classes = found.class_scores
    return FoundObjects(
        size,
        boxes[order],
        scores[order],
        found.labels.long()[order],
        None if classes is None else classes.float()[order],
    )
