"""The losses that a training step minimizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from megavid.models.base.clip import Clip
from megavid.models.base.detector import VideoDetector
from megavid.training.run_log import LOSSES


class MeanLosses(nn.Module):
    """The mean losses of several clips: what `DistributedDataParallel` wraps.

    Args:
        detector: In training mode.
    """

    def __init__(self, detector: VideoDetector[Any, Any]) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, clips: Sequence[Clip]) -> Tensor:
        """Compute (4,) losses, in the order of `LOSSES`."""
        each = [self.detector.losses(clip) for clip in self.detector.through_trunk(clips)]
        return torch.stack([torch.stack([getattr(losses, n) for n in LOSSES]) for losses in each]).mean(0)
