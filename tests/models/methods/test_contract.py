"""Tests of the contract that every method in `METHODS` must satisfy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from megavid import VideoSession, detect_video, load_detector
from megavid.checkpoints.weights import write_weights
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.models.base.clip import Clip
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.faster_rcnn.rpn import RPNOutput
from megavid.models.method_registry import METHODS
from tests.agreement import agreement, assert_close, assert_same
from tests.conftest import build_tiny, network_input, total

MakeFrames = Callable[[int], list[Image]]


def push_all(session: VideoSession, frames: list[Image]) -> list[FrameResult]:
    return list(chain.from_iterable(session.push(frame) for frame in frames)) + session.flush()


def lengths(detector: FasterRCNN) -> list[int]:
    window = detector.plan.past + 1 + detector.plan.future
    return sorted({1, 2, max(window - 1, 1), window, window + 1, 3 * window, 8})


def test_results_are_in_order_and_valid(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    for n in lengths(detector):
        frames = make_frames(n)
        results = list(detect_video(detector, frames))
        assert [r.index for r in results] == list(range(n))
        assert [r.time for r in results] == [i / 25 for i in range(n)]
        for result in results:
            found = result.detections
            assert len(found) > 0
            assert found.boxes.dtype == found.scores.dtype == torch.float32
            assert found.labels.dtype == torch.int64
            assert found.class_names == ("disc", "ring", "square")
            assert ((found.labels >= 0) & (found.labels < 3)).all()
            assert (found.boxes[:, :2] >= 0).all()
            right, bottom = found.boxes[:, 2:].amax(0).tolist()
            assert right <= 96.0001
            assert bottom <= 64.0001
            assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_streaming_equals_offline(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    for n in lengths(detector):
        frames = make_frames(n)
        whole = push_all(VideoSession(detector, source=frames), frames)
        assert_same(list(detect_video(detector, frames)), whole, detector.device)
        stream = push_all(VideoSession(detector), frames)
        assert_same(list(detect_video(detector, iter(frames))), stream, detector.device)


def test_a_result_is_returned_once_its_look_ahead_is_complete(
    detector: FasterRCNN, make_frames: MakeFrames
) -> None:
    session = VideoSession(detector)
    late = detector.plan.future
    assert session.look_ahead == late
    for i, frame in enumerate(make_frames(late + 3)):
        assert [r.index for r in session.push(frame)] == ([i - late] if i >= late else [])
    assert [r.index for r in session.flush()] == list(range(3, late + 3))


def test_causal_results_are_immediate_and_ignore_the_future(
    detector: FasterRCNN, make_frames: MakeFrames
) -> None:
    frames = make_frames(9)
    causal = VideoSession(detector, causal=True)
    results = [causal.push(frame) for frame in frames]
    assert [[r.index for r in ready] for ready in results] == [[i] for i in range(9)]
    assert causal.flush() == []
    shorter = push_all(VideoSession(detector, causal=True), frames[:5])
    assert_same(shorter, list(chain.from_iterable(results[:5])), detector.device)


def test_every_frame_is_encoded_once(
    detector: FasterRCNN, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = detector.encode

    def counting(images: Tensor) -> list[Any]:
        encoded.append(len(images))
        return encode(images)

    monkeypatch.setattr(detector, "encode", counting)
    for n in lengths(detector):
        frames = make_frames(n)
        for session in (VideoSession(detector, source=frames), VideoSession(detector)):
            encoded.clear()
            push_all(session, frames)
            assert sum(encoded) == n


def test_dropped_frames_are_encoded_again(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    frames = make_frames(20)
    small = VideoSession(detector, source=frames, store_bytes=0)
    assert_same(push_all(small, frames), list(detect_video(detector, frames)), detector.device)


def test_sessions_do_not_affect_each_other(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    frames = make_frames(18)
    one, two = frames[:9], frames[9:]
    alone = [push_all(VideoSession(detector), video) for video in (one, two)]
    sessions = [VideoSession(detector), VideoSession(detector)]
    together: list[list[FrameResult]] = [[], []]
    for pair in zip(one, two, strict=True):
        for session, frame, results in zip(sessions, pair, together, strict=True):
            results.extend(session.push(frame))
    for session, results, expected in zip(sessions, together, alone, strict=True):
        assert_same(results + session.flush(), expected, detector.device)


def test_inference_does_not_change_the_module(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    def attributes() -> dict[str, set[str]]:
        return {name: set(vars(module)) for name, module in detector.named_modules()}

    before, weights = attributes(), {k: v.clone() for k, v in detector.state_dict().items()}
    list(detect_video(detector, make_frames(8)))
    assert attributes() == before
    for name, tensor in detector.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_batch_size_changes_rounding_only(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    frames = make_frames(11)
    singly = list(detect_video(detector, frames))
    for batch_size in (2, 4, 16):
        results = list(detect_video(detector, frames, batch_size=batch_size))
        assert agreement(results, singly, pixels=0.05, score=1e-3) > 0.99


@pytest.mark.parametrize("empty", ["every frame", "every other frame"])
def test_frames_without_proposals(detector: FasterRCNN, make_frames: MakeFrames, empty: str) -> None:
    calls = []

    def no_proposals(module: object, args: object, output: RPNOutput) -> RPNOutput:
        calls.append(output)
        if empty == "every other frame" and len(calls) % 2:
            return output
        return RPNOutput(output.logits[:, :0], output.deltas[:, :0], output.anchors[:0])

    with detector.rpn.register_forward_hook(no_proposals):
        results = list(detect_video(detector, make_frames(9)))
    assert len(results) == 9
    counts = {len(r.detections) == 0 for r in results}
    assert counts == ({True} if empty == "every frame" else {True, False})


def test_weights_round_trip(
    method: str, detector: FasterRCNN, make_frames: MakeFrames, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    config = detector.config.model_dump(mode="json")
    write_weights(path, detector.state_dict(), config=config, about={"licence": "none"})
    again = load_detector(weights=path, device=detector.device, inference=None)
    assert type(again) is type(detector) is METHODS[method]
    assert again.config == detector.config
    frames = make_frames(8)
    assert_same(list(detect_video(again, frames)), list(detect_video(detector, frames)), detector.device)


def make_clip(detector: FasterRCNN, frames: list[Image], **changes: Any) -> Clip:
    """Return a training clip of the frames, with two objects; its references cycle through the frames."""
    images = network_input(detector, frames)
    place = iter(range(1, 100))
    references = {
        group.name: tuple(next(place) % len(frames) for _ in range(group.count))
        for group in detector.training_plan.groups
    }
    clip = Clip(
        images,
        references,
        boxes=torch.tensor([[8.0, 10, 40, 50], [50, 5, 90, 45]], device=detector.device),
        labels=torch.tensor([2, 0], device=detector.device),
        generator=torch.Generator().manual_seed(5),
    )
    return replace(clip, **changes)


def test_gradients_reach_every_trainable_parameter(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    detector.freeze(stages=2)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    total(detector.losses(make_clip(detector, make_frames(4)))).backward()
    for name, parameter in detector.named_parameters():
        frozen = name.startswith(("backbone.trunk.stem", "backbone.trunk.layer1"))
        assert parameter.requires_grad is not frozen, name
        assert (parameter.grad is not None) is not frozen, name
        # A key's bias adds the same value to all logits of a query, and softmax is invariant to that.
        if not frozen and not name.endswith("key.bias"):
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_losses_of_stills_and_clips(detector: FasterRCNN, make_frames: MakeFrames, frames: int) -> None:
    encoded = []
    detector.backbone.trunk.register_forward_hook(lambda _, args, out: encoded.append(len(out)))
    losses = detector.losses(make_clip(detector, make_frames(frames)))
    assert sum(encoded) <= frames  # no frame is encoded twice
    assert list(losses) == ["objectness", "proposals", "classes", "boxes"]
    for loss in losses.values():
        assert loss.shape == ()
        assert loss.isfinite()
        assert loss > 0


def test_losses_without_objects(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    empty = {
        "boxes": torch.zeros(0, 4, device=detector.device),
        "labels": torch.zeros(0, dtype=torch.int64, device=detector.device),
    }
    losses = detector.losses(make_clip(detector, make_frames(3), **empty))
    total(losses).backward()
    assert losses["objectness"] > 0
    assert losses["classes"] > 0
    assert losses["proposals"] == 0
    assert losses["boxes"] == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in detector.parameters())


def test_the_same_generator_gives_the_same_losses(
    method: str, make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny(method, device, **{"rpn.batch_size_per_image": 8, "head.batch_size_per_image": 8})

    def loss(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return total(detector.losses(make_clip(detector, make_frames(3), generator=generator))).item()

    assert loss(5) == loss(5) != loss(6)


def test_clips_of_a_batch_share_one_trunk_pass(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    clips = [make_clip(detector, make_frames(n), generator=None) for n in (1, 4, 3)]
    clips.append(replace(clips[1], images=clips[1].images[..., :48], boxes=clips[1].boxes.clamp(max=48)))
    alone = [detector.losses(clip) for clip in clips]
    batches = []
    detector.backbone.trunk.register_forward_hook(lambda _, args, out: batches.append(len(out)))
    together = detector.batch_losses(clips)
    assert len(batches) == 2  # one batch for each frame size
    for one, other in zip(alone, together, strict=True):
        assert list(one) == list(other)
        for name, loss in one.items():
            assert_close(loss, other[name], rtol=1e-3, atol=1e-4)


def test_activation_checkpointing_does_not_change_gradients(
    detector: FasterRCNN, make_frames: MakeFrames
) -> None:
    gradients = []
    for enabled in (False, True):
        detector.use_activation_checkpointing(enabled=enabled)
        detector.zero_grad()
        total(detector.losses(make_clip(detector, make_frames(3)))).backward()
        gradients.append([p.grad.clone() for p in detector.parameters() if p.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        assert_close(plain, recomputed)


@pytest.mark.parametrize("norm", ["frozen_batch", "group"])
def test_new_weights_overfit_a_clip(
    method: str, make_frames: MakeFrames, norm: str, device: torch.device
) -> None:
    detector = build_tiny(method, device, **{"backbone.norm": norm})
    torch.manual_seed(0)
    detector.initialize()
    clip = make_clip(detector, make_frames(3))
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.01 if norm == "group" else 0.001, momentum=0.9)
    totals = []
    for step in range(30):
        seeded = replace(clip, generator=torch.Generator().manual_seed(step))
        loss = total(detector.losses(seeded))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimizer.step()
        totals.append(loss.item())
    assert sum(totals[-5:]) < 0.8 * sum(totals[:5]), totals
