"""Key frames that are predicted together give the same as one after the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from megavid.core.frames import Image
from megavid.models.acceleration.inference import Inference
from megavid.models.base.features import Window
from megavid.models.base.requests import KeyFrames
from megavid.models.faster_rcnn.batched_faster_rcnn import BatchedFasterRCNN
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.runtime.session import VideoSession
from megavid.runtime.session_group import SessionGroup
from tests.agreement import assert_agree
from tests.conftest import TINY_METHODS, build_tiny, network_input
from tests.tolerances import other_shapes

MakeFrames = Callable[[int], list[Image]]

BATCHED = [method for method in TINY_METHODS if method != "dff"]


def windows_of(detector: BatchedFasterRCNN, features: list[Any], *, first: int) -> list[Window[Any]]:
    """Return the windows of a video's key frames; each frame is shown by its number modulo the features."""
    plan, n = detector.plan, len(features)
    return [
        Window(
            step=key,
            key=features[(first + key) % n],
            local=[features[(first + key + offset) % n] for offset in range(-plan.past, plan.future + 1)],
            global_frames=[features[(first + 2 * key + i) % n] for i in range(plan.global_frames)],
            frame_size=(64, 96),
        )
        for key in range(6)
    ]


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["plain", "reuse", "fixed shapes"])
@pytest.mark.parametrize("method", BATCHED)
def test_predicting_together_changes_nothing(
    method: str, kind: str, make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny(method, device)
    assert isinstance(detector, BatchedFasterRCNN)
    detector.prepare(Inference.plain().model_copy(update={"reuse": kind == "reuse"}))
    if kind == "fixed shapes":
        detector.use_fixed_shapes()
    features = [detector.encode(network_input(detector, [frame]))[0] for frame in make_frames(11)]
    videos = [windows_of(detector, features, first=first) for first in (0, 4)]

    one_by_one: list[HeadOutput] = []
    for windows in videos:
        memory = detector.initial_memory()
        for window in windows:
            output, memory = detector.predict(window, memory)
            one_by_one.append(output)

    together = [list[HeadOutput](), list[HeadOutput]()]
    memories = [detector.initial_memory() for _ in videos]
    for start, end in ((0, 1), (1, 5), (5, 6)):
        requests = [KeyFrames(w[start:end], memory) for w, memory in zip(videos, memories, strict=True)]
        outputs, memories = detector.predict_batch(requests)
        for video, number in enumerate((0, end - start)):
            together[video] += outputs[number : number + end - start]

    assert len(one_by_one) == len(together[0] + together[1]) == 12
    logits = [output.logits for output in one_by_one]
    assert not any(torch.equal(a, b) for a, b in pairwise(logits))
    for output, expected in zip(together[0] + together[1], one_by_one, strict=True):
        for a, b in ((output.logits, expected.logits), (output.deltas, expected.deltas)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(output.proposals, expected.proposals, rtol=1e-4, atol=1e-3)


class CountingProducts(TorchDispatchMode):
    """Counts matrix products with the weights of a layer."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.addmm.default:
            self.rows.append(len(args[1]))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
@pytest.mark.parametrize("method", BATCHED)
def test_a_layer_runs_once_for_all_key_frames(
    method: str, make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny(method, device)
    assert isinstance(detector, BatchedFasterRCNN)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    features = [detector.encode(network_input(detector, [frame]))[0] for frame in make_frames(11)]
    windows = windows_of(detector, features, first=0)
    counts: list[CountingProducts] = []
    for number in (1, 6):
        with CountingProducts() as counting:
            detector.predict_batch([KeyFrames(windows[:number], detector.initial_memory())])
        counts.append(counting)
    one, six = counts
    assert len(six.rows) == len(one.rows) > 1
    assert sum(six.rows) <= 6 * sum(one.rows)


@pytest.mark.parametrize("method", TINY_METHODS)
def test_streams_in_a_group_give_what_each_gives_alone(
    method: str, make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny(method, device)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    frames = make_frames(14)
    videos = [frames[start : start + count] for start, count in ((0, 9), (3, 11), (5, 7))]
    alone = []
    for video in videos:
        session = VideoSession(detector)
        alone.append([r for frame in video for r in session.push(frame)] + session.flush())
    group, sessions = SessionGroup(detector, batch_size=1), [VideoSession(detector) for _ in videos]
    results: dict[VideoSession, list[Any]] = {session: [] for session in sessions}
    for start, count in ((0, 4), (4, 1), (5, 1), (6, 5)):
        pushed = [
            (session, frame)
            for session, video in zip(sessions, videos, strict=True)
            for frame in video[start : start + count]
        ]
        for session, result in group.push(pushed):
            results[session].append(result)
    for session, result in group.flush(sessions):
        results[session].append(result)
    for session, expected in zip(sessions, alone, strict=True):
        assert len(results[session]) == len(expected)
        assert_agree(results[session], expected, other_shapes(device))
