"""A detector for tests of archives: as slow as wished, and deadly where a frame is black."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from megavid.core.detections import Detections
from megavid.core.reference_plans import ReferencePlan
from megavid.models.base.detector_config import DetectorConfig, MethodConfig
from megavid.models.base.features import FrameFeatures, Window
from megavid.models.base.video_detector import VideoDetector


class SlowConfig(MethodConfig):
    """Settings of the method.

    Attributes:
        seconds: Time that a frame takes.
    """

    name: Literal["slow"]
    seconds: float


@dataclass(frozen=True, eq=False)
class SlowFeatures(FrameFeatures):
    brightness: Tensor


class Slow(VideoDetector[SlowFeatures, None]):
    """Detects the whole frame, scored by its brightness from 0 to 1; a black frame kills the process."""

    config_type = DetectorConfig[SlowConfig]

    def __init__(self, config: DetectorConfig[SlowConfig]) -> None:
        super().__init__(config)
        self.most = torch.nn.Parameter(torch.tensor(255.0), requires_grad=False)

    @property
    def plan(self) -> ReferencePlan:
        return ReferencePlan()

    def preprocess(self, frames: Tensor) -> Tensor:
        return frames.permute(0, 3, 1, 2)

    def encode(self, images: Tensor) -> list[SlowFeatures]:
        return [SlowFeatures((64, 96), image.float().mean() / self.most) for image in images]

    def initial_memory(self) -> None:
        return None

    def detect(
        self, window: Window[SlowFeatures], memory: None, *, score_threshold: float | None = None
    ) -> tuple[Detections, None]:
        time.sleep(self.config.method.seconds)
        score = window.key.brightness
        if score < 0.01:
            os.kill(os.getpid(), signal.SIGKILL)
        height, width = window.frame_size
        box = torch.tensor([[0.0, 0.0, width, height]])
        return Detections(box, score[None], torch.zeros(1, dtype=torch.int64), self.class_names), None
