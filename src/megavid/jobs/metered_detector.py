"""A detector that counts what another one encodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from megavid.core.detections import Detections
from megavid.core.reference_plans import ReferencePlan
from megavid.models.base.features import Window
from megavid.models.base.video_detector import VideoDetector

_REPLAYED = 4
"""Number of frames whose features are replayed."""


class MeteredDetector(VideoDetector):
    """A detector that counts the frames encoded by another one, and can replay their features.

    Args:
        inner: Detector that does the work.

    Attributes:
        encoded: Number of frames encoded so far.
        replays: Whether `encode` returns copies of earlier features once it has those of a few frames.
    """

    def __init__(self, inner: VideoDetector) -> None:
        super().__init__(inner.config)
        self.inner = inner
        self.inference = inner.inference
        self.encoded = 0
        self.replays = False
        self._known: list[Any] = []

    @property
    def plan(self) -> ReferencePlan:
        """Reference plan of the inner detector."""
        return self.inner.plan

    def preprocess(self, frames: Tensor) -> Tensor:
        """Preprocess by the inner detector."""
        return self.inner.preprocess(frames)

    def encode(self, images: Tensor) -> list[Any]:
        """Encode by the inner detector and count the images, or replay."""
        if self.replays and len(self._known) >= _REPLAYED:
            # Copies, since a frame that fills two places of a window is recognized.
            return [replace(self._known[i % _REPLAYED]) for i in range(len(images))]
        self.encoded += len(images)
        features = self.inner.encode(images)
        if self.replays:
            self._known.extend(features)
        return features

    def initial_memory(self) -> Any:
        """Return the initial memory of the inner detector."""
        return self.inner.initial_memory()

    def detect(
        self, window: Window, memory: Any, *, score_threshold: float | None = None
    ) -> tuple[Detections, Any]:
        """Detect by the inner detector."""
        return self.inner.detect(window, memory, score_threshold=score_threshold)
