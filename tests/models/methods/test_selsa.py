"""SELSA: its formula, in which the positions of RoIs and the order of frames do not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from megavid.core.frames import Image
from megavid.models.acceleration.inference import Inference
from megavid.models.base.features import Window
from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.methods.selsa import Selsa, SelsaMemory
from tests.agreement import assert_close
from tests.conftest import build_tiny, network_input

MakeFrames = Callable[[int], list[Image]]


@pytest.fixture
def detector(device: torch.device) -> Selsa:
    built = build_tiny("selsa", device)
    assert isinstance(built, Selsa)
    return built


@pytest.fixture
def frames(detector: Selsa, make_frames: MakeFrames) -> list[RoIFeatures]:
    images = network_input(detector, make_frames(4))
    with torch.inference_mode():
        return detector.encode(images)


def run(
    detector: Selsa, frames: Sequence[RoIFeatures], memory: SelsaMemory | None = None
) -> tuple[Tensor, SelsaMemory]:
    """Detect in the first frame as the key frame; return the predictor's input and the new memory."""
    seen: list[Tensor] = []
    window = Window(step=0, key=frames[0], local=frames[:1], global_frames=frames[1:], frame_size=(64, 96))
    with detector.predictor.register_forward_hook(lambda _, args, out: seen.append(args[0])):
        _, memory = detector.predict(window, {} if memory is None else memory)
    return seen[0], memory


def by_hand(detector: Selsa, frames: Sequence[RoIFeatures]) -> Tensor:
    """Compute attention by stage and head: softmax of inner products over the RoIs of all frames."""
    key, others = frames[0].features, torch.cat([frame.features[:8] for frame in frames])
    for stage, relation in enumerate(detector.relations):
        if stage > 0:
            key, others = (torch.relu(detector.fcs[stage](x)) for x in (key, others))
        parts = {"query": key, "key": others, "value": others}
        q, k, v = (relation.get_submodule(name)(x) for name, x in parts.items())
        width = q.shape[1] // 4  # for each of 4 heads
        heads = []
        for h in range(4):
            of_head = slice(h * width, (h + 1) * width)
            weights = (q[:, of_head] @ k[:, of_head].T / width**0.5).softmax(1)
            heads.append(weights @ v[:, of_head])
        key = key + torch.cat(heads, 1)
    return key


@torch.inference_mode()
def test_each_stage_attends_to_all_frames(detector: Selsa, frames: list[RoIFeatures]) -> None:
    for count in (4, 2, 1):
        assert_close(run(detector, frames[:count])[0], by_hand(detector, frames[:count]))
    alone, together = (run(detector, frames[:count])[0] for count in (1, 4))
    assert not torch.allclose(alone, together)


@torch.inference_mode()
def test_positions_and_frame_order_do_not_matter(detector: Selsa, frames: list[RoIFeatures]) -> None:
    expected, _ = run(detector, frames)
    elsewhere = [replace(frame, proposals=frame.proposals + 20) for frame in frames]
    assert torch.equal(run(detector, elsewhere)[0], expected)
    assert_close(run(detector, [frames[0], *reversed(frames[1:])])[0], expected)


@torch.inference_mode()
def test_only_frames_in_use_are_remembered(detector: Selsa, frames: list[RoIFeatures]) -> None:
    assert run(detector, frames)[1] == {}
    detector.prepare(Inference.plain().model_copy(update={"reuse": True}))
    expected, memory = run(detector, frames[:3])
    assert set(memory) == set(frames[1:3])
    again, _ = run(detector, frames[:3], memory)
    torch.testing.assert_close(again, expected)
    _, memory = run(detector, [frames[1], *frames[2:]], memory)
    assert set(memory) == set(frames[2:])
