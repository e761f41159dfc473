"""DFF: how often the trunk runs, and how features are propagated to intermediate frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from megavid import VideoSession, detect_video
from megavid.core.frames import Image
from megavid.models.base.features import Window
from megavid.models.layers.warp import warp
from megavid.models.methods.dff import Dff, DffFeatures
from tests.agreement import assert_close
from tests.conftest import build_tiny, network_input

MakeFrames = Callable[[int], list[Image]]


def build(device: torch.device, **changes: Any) -> Dff:
    detector = build_tiny("dff", device, **changes)
    assert isinstance(detector, Dff)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        nn.init.normal_(detector.scale.weight)  # it is initialized to zero
    return detector


def trunk_runs(
    detector: Dff, frames: Sequence[Image], *, whole: bool = True, batch_size: int = 1
) -> list[int]:
    """Return, for each batch that is pushed, the number of frames that have passed through the trunk."""
    session = VideoSession(detector, source=frames if whole else None)
    runs: list[int] = []
    totals = []
    with detector.backbone.trunk.register_forward_hook(
        lambda module, args, output: runs.append(len(args[0]))
    ):
        for start in range(0, len(frames), batch_size):
            batch = frames[start : start + batch_size]
            assert len(session.push_batch(batch)) == len(batch)
            totals.append(sum(runs))
    return totals


@pytest.mark.parametrize("n", [1, 9, 10, 11, 25])
def test_trunk_runs_on_every_tenth_frame(make_frames: MakeFrames, n: int, device: torch.device) -> None:
    detector = build(**{"method.key_interval": 10}, device=device)
    expected = [i // 10 + 1 for i in range(n)]
    assert expected[-1] == -(-n // 10)  # ceil(n / 10)
    frames = make_frames(n)
    assert trunk_runs(detector, frames) == trunk_runs(detector, frames, whole=False) == expected
    last = [min(start + 3, n - 1) for start in range(0, n, 4)]  # of each batch of four
    assert trunk_runs(detector, frames, batch_size=4) == [expected[i] for i in last]


def test_interval_is_configurable(make_frames: MakeFrames, device: torch.device) -> None:
    frames = make_frames(7)
    assert trunk_runs(build(**{"method.key_interval": 3}, device=device), frames) == [1, 1, 1, 2, 2, 2, 3]
    assert trunk_runs(build(**{"method.key_interval": 1}, device=device), frames) == list(range(1, 8))


def test_sessions_have_their_own_key_frames(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build(device=device)
    frames = make_frames(10)
    sessions = [VideoSession(detector), VideoSession(detector)]
    together: list[list[Tensor]] = [[], []]
    for pair in zip(frames[:5], frames[5:], strict=True):
        for session, frame, boxes in zip(sessions, pair, together, strict=True):
            boxes.extend(r.detections.boxes for r in session.push(frame))
    for video, boxes in zip((frames[:5], frames[5:]), together, strict=True):
        alone = [r.detections.boxes for r in detect_video(detector, video)]
        assert all(torch.equal(a, b) for a, b in zip(boxes, alone, strict=True))


@torch.inference_mode()
def test_intermediate_frames_warp_the_key_frames_map(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build(device=device)
    features: list[DffFeatures] = [
        detector.encode(network_input(detector, [frame]))[0] for frame in make_frames(2)
    ]
    maps: list[Tensor] = []
    detector.rpn.register_forward_hook(lambda module, args, output: maps.append(args[0]))
    memory = None
    for step, frame in enumerate(features):
        window = Window(step=step, key=frame, local=[frame], global_frames=[], frame_size=(64, 96))
        _, memory = detector.predict(window, memory)
    key, current = (torch.nn.functional.avg_pool2d(f.image[None] / 255, 2) for f in features)
    c4 = detector.backbone.c4(features[0].image[None])
    for map_, image in zip(maps, (key, current), strict=True):
        flow, flow_features = detector.flow(image, key)
        scale = 1 + torch.nn.functional.conv2d(flow_features, detector.scale.weight)
        assert_close(map_, warp(c4, flow, align_corners=False) * scale)
    assert (maps[0] - maps[1]).abs().max() > 1e-3


def test_scale_is_initialized_to_one(device: torch.device) -> None:
    detector = build_tiny("dff", device)
    assert isinstance(detector, Dff)
    assert not detector.scale.weight.any()
