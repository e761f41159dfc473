"""What makes inference fast, over every method, each by itself on and off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from megavid import detect_video
from megavid.cli.benchmark import KeepsRounding, MayRound
from megavid.core.frames import Image
from megavid.models.acceleration.prepare import prepare
from megavid.models.base.detector import VideoDetector
from megavid.models.base.inference import FAST, Inference
from tests.conftest import build_tiny
from tests.models.methods.results import share_close

MakeFrames = Callable[[int], list[Image]]

SPEED_UPS: tuple[str, ...] = get_args(KeepsRounding)


def spread_norms(detector: VideoDetector[Any, Any]) -> None:
    """Give batch norms statistics and weights of all kinds, the same every time."""
    generator = torch.Generator().manual_seed(0)
    for module in detector.modules():
        if isinstance(module, FrozenBatchNorm2d):
            for values, low, high in (
                (module.running_var, 0.5, 2.0),
                (module.running_mean, -0.2, 0.2),
                (module.weight, 0.8, 1.2),
                (module.bias, -0.2, 0.2),
            ):
                values.uniform_(low, high, generator=generator)


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
def test_what_makes_it_fast_changes_nothing(
    method: str, detector: VideoDetector[Any, Any], make_frames: MakeFrames, inference: Inference
) -> None:
    frames = make_frames(12)
    fast = build_tiny(method)
    for network in (detector, fast):
        spread_norms(network)
    expected = list(detect_video(detector, frames))
    prepare(fast, inference)
    results = list(detect_video(fast, frames))
    # Rounding decides which of two proposals with all but the same score is kept.
    assert share_close(results, expected, pixels=0.01, score=1e-4) > 0.99


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "way",
    [
        Inference.plain(),
        FAST,
        Inference(loose=True),
        *(FAST.model_copy(update={name: False}) for name in (*get_args(MayRound), "fold_norms")),
    ],
    ids=["plain", "fast", "loose", *(f"without_{name}" for name in (*get_args(MayRound), "fold_norms"))],
)
def test_half_precision_stays_close(
    method: str,
    detector: VideoDetector[Any, Any],
    make_frames: MakeFrames,
    dtype: Literal["bfloat16", "float16"],
    way: Inference,
) -> None:
    frames = make_frames(9)
    full = list(detect_video(detector, frames))
    halved = build_tiny(method)
    prepare(halved, way.model_copy(update={"dtype": dtype}))
    half = list(detect_video(halved, frames))
    assert {r.detections.boxes.dtype for r in half} == {torch.float32}
    assert share_close(half, full, pixels=2.0, score=0.05) > 0.9
