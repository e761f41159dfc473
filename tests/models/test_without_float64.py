"""Apple's GPUs have no float64: detectors are prepared, detect and are trained without it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from megavid import Inference, detect_video
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.models.base.clip import Clip
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from tests.agreement import agreement, assert_same
from tests.conftest import TINY_METHODS, build_tiny, network_input, total
from tests.pretend_mps import CPU, PRETEND_MPS, PretendTensor, pretend_mps

SETTINGS = {
    "default": Inference(),
    "plain": Inference.plain(),
    "loose": Inference(loose=True),
    "bfloat16": Inference(dtype="bfloat16"),
    "float16": Inference(dtype="float16"),
    "loose float16": Inference(dtype="float16", loose=True),
}


def build(method: str, device: torch.device) -> FasterRCNN:
    """Build a tiny detector whose frozen norms are those of trained weights: not the identity."""
    detector = build_tiny(method, CPU)
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in detector.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert norms
    for norm in norms:
        norm.running_var.uniform_(0.8, 1.25, generator=generator)
        norm.running_mean.normal_(std=0.1, generator=generator)
        norm.weight.uniform_(0.8, 1.25, generator=generator)
        norm.bias.normal_(std=0.1, generator=generator)
    return detector.to(device)


def detect(method: str, frames: list[Image], device: torch.device, inference: Inference) -> list[FrameResult]:
    detector = build(method, device)
    detector.prepare(inference)
    return list(detect_video(detector, frames, batch_size=2))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("method", TINY_METHODS)
def test_detection(method: str, name: str, make_frames: Callable[[int], list[Image]]) -> None:
    frames, inference = make_frames(5), SETTINGS[name]
    expected = detect(method, frames, CPU, Inference.plain())
    with pretend_mps():
        results = detect(method, frames, PRETEND_MPS, inference)
    if name == "plain":
        assert_same(results, expected)
    else:
        assert agreement(results, expected, pixels=4, score=0.1) > 0.5


def loss_of(method: str, frames: list[Image], device: torch.device) -> float:
    """Return the loss of a clip with one object, after a backward pass."""
    detector = build(method, device)
    images = network_input(detector, frames)
    clip = Clip(
        images,
        {group.name: tuple(range(1, 1 + group.count)) for group in detector.training_plan.groups},
        boxes=torch.tensor([[8.0, 10, 40, 50]], device=device),
        labels=torch.tensor([2], device=device),
        generator=torch.Generator().manual_seed(5),
    )
    loss = total(detector.losses(clip))
    loss.backward()
    return loss.item()


@pytest.mark.parametrize("method", TINY_METHODS)
def test_training(method: str, make_frames: Callable[[int], list[Image]]) -> None:
    expected = loss_of(method, make_frames(5), CPU)
    with pretend_mps():
        assert loss_of(method, make_frames(5), PRETEND_MPS) == expected


def test_float64_is_refused() -> None:
    with pretend_mps():
        there = torch.ones(2, device=PRETEND_MPS)
        assert isinstance(there, PretendTensor)
        assert (
            there.device == (there + 1).device == torch.arange(3, device=there.device).device == PRETEND_MPS
        )
        assert there.cpu().device.type == CPU.type
        assert there.cpu().double().dtype == torch.float64
        for call in (
            there.double,
            lambda: there.to(torch.float64),
            lambda: torch.zeros(2, dtype=torch.float64, device=there.device),
            lambda: torch.from_numpy(np.ones(2)).to(there.device),
            lambda: there + torch.ones(2, dtype=torch.float64, device=CPU),
        ):
            with pytest.raises(RuntimeError, match="MPS has no float64"):
                call()
