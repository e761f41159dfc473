"""Requests to a detector for several key frames at once, and their results, which may come later."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

from megavid.core.detections import Detections
from megavid.models.base.features import FeaturesT, Window

MemoryT = TypeVar("MemoryT", default=Any)


@dataclass(frozen=True, eq=False)
class KeyFrames(Generic[FeaturesT, MemoryT]):
    """Consecutive key frames of one video to detect in.

    Attributes:
        windows: Windows of the key frames, in the video's order.
        memory: The video's memory before the first of them.
        score_threshold: Score that detections exceed; None for the configured threshold.
    """

    windows: Sequence[Window[FeaturesT]]
    memory: MemoryT
    score_threshold: float | None = None


class PendingDetections(ABC):
    """Detections that a device may still be computing."""

    @abstractmethod
    def wait(self) -> list[list[Detections]]:
        """Wait until the detections are computed, and return them on the CPU: a list for each request."""


@dataclass(frozen=True, eq=False)
class ReadyDetections(PendingDetections):
    """Detections whose number is known, which remain on the device until `wait` copies them.

    Attributes:
        detections: Detections of each key frame of each request.
    """

    detections: Sequence[Sequence[Detections]]

    def wait(self) -> list[list[Detections]]:
        """Return the detections on the CPU."""
        return [[found.cpu() for found in video] for video in self.detections]
