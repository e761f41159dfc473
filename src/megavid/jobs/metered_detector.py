"""A wrapper around a detector that counts how many frames the detector encodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from megavid.core.detections import Detections
from megavid.core.reference_plans import ReferencePlan
from megavid.models.base.features import Window
from megavid.models.base.requests import KeyFrames, PendingDetections
from megavid.models.base.video_detector import VideoDetector

_REPLAYED = 4
"""Number of frames whose features are replayed."""


class MeteredDetector(VideoDetector):
    """Wraps a detector to count the frames that it encodes, and can replay their features.

    Args:
        inner: The detector to wrap.

    Attributes:
        encoded: Number of frames encoded so far.
        replays: Whether `encode_frames` returns copies of earlier features, once it has a few.
    """

    def __init__(self, inner: VideoDetector) -> None:
        super().__init__(inner.config)
        self.inner = inner
        self.inference = inner.inference
        self.fixed_shapes = inner.fixed_shapes
        self.encoded = 0
        self.replays = False
        self._known: list[Any] = []

    @property
    def plan(self) -> ReferencePlan:
        """Reference plan of the inner detector."""
        return self.inner.plan

    def preprocess(self, frames: Tensor) -> Tensor:
        """Preprocess frames with the inner detector."""
        return self.inner.preprocess(frames)

    def encode(self, images: Tensor) -> list[Any]:
        """Encode images with the inner detector and count them."""
        self.encoded += len(images)
        return self.inner.encode(images)

    def encode_frames(self, frames: Tensor) -> list[Any]:
        """Encode frames with the inner detector and count them, or return copies of earlier features."""
        if self.replays and len(self._known) >= _REPLAYED:
            # Copies, since a detector can tell if two places of a window hold the same Python object.
            return [replace(self._known[i % _REPLAYED]) for i in range(len(frames))]
        self.encoded += len(frames)
        features = self.inner.encode_frames(frames)
        if self.replays:
            self._known.extend(features)
        return features

    def initial_memory(self) -> Any:
        """Return the initial memory of the inner detector."""
        return self.inner.initial_memory()

    def detect(
        self, window: Window, memory: Any, *, score_threshold: float | None = None
    ) -> tuple[Detections, Any]:
        """Detect with the inner detector."""
        return self.inner.detect(window, memory, score_threshold=score_threshold)

    def detect_videos(self, requests: Sequence[KeyFrames[Any, Any]]) -> tuple[PendingDetections, list[Any]]:
        """Detect in several videos with the inner detector."""
        return self.inner.detect_videos(requests)
