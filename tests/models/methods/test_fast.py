"""Every method with and without each inference speed-up, in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from megavid import detect_video
from megavid.core.frames import Image
from megavid.models.acceleration.inference import FAST, Inference, KeepsRounding
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from tests.agreement import assert_agree
from tests.conftest import build_tiny
from tests.tolerances import speed_ups

MakeFrames = Callable[[int], list[Image]]

SPEED_UPS: tuple[str, ...] = get_args(KeepsRounding)


def spread_norms(detector: FasterRCNN) -> None:
    """Give batch norms random statistics and weights, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    for module in detector.modules():
        if isinstance(module, FrozenBatchNorm2d):
            for values, low, high in (
                (module.running_var, 0.5, 2.0),
                (module.running_mean, -0.2, 0.2),
                (module.weight, 0.8, 1.2),
                (module.bias, -0.2, 0.2),
            ):
                drawn = torch.empty(values.shape).uniform_(low, high, generator=generator).to(values.device)
                values.copy_(drawn)


@pytest.mark.parametrize(
    "inference",
    [
        Inference.plain(),
        FAST,
        Inference(loose=True),
        Inference(loose=True, winograd=False),
        *(Inference.plain().model_copy(update={name: True}) for name in SPEED_UPS),
        *(FAST.model_copy(update={name: False}) for name in SPEED_UPS),
    ],
    ids=[
        "none",
        "all",
        "loose",
        "loose_without_winograd",
        *(f"only_{name}" for name in SPEED_UPS),
        *(f"without_{name}" for name in SPEED_UPS),
    ],
)
def test_speed_ups_do_not_change_detections(
    method: str, detector: FasterRCNN, make_frames: MakeFrames, inference: Inference
) -> None:
    frames = make_frames(12)
    fast = build_tiny(method, detector.device)
    for network in (detector, fast):
        spread_norms(network)
    expected = list(detect_video(detector, frames))
    fast.prepare(inference)
    results = list(detect_video(fast, frames))
    # Rounding decides which of two proposals with nearly equal scores is kept.
    assert_agree(results, expected, speed_ups(detector.device, loose=inference.loose))
