"""The losses that a training step minimizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from megavid.models.base.clip import Clip
from megavid.models.base.video_detector import VideoDetector


class MeanLosses(nn.Module):
    """Module that computes a detector's mean losses over clips; `DistributedDataParallel` can wrap it.

    Args:
        detector: Detector in training mode.
    """

    def __init__(self, detector: VideoDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, clips: Sequence[Clip]) -> dict[str, Tensor]:
        """Return each of the detector's losses by name, averaged over the clips."""
        each = self.detector.batch_losses(clips)
        means = torch.stack([torch.stack(tuple(losses.values())) for losses in each]).mean(0)
        return dict(zip(each[0], means.unbind(), strict=True))
