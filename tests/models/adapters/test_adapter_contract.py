"""Tests of the contract that every detector of another library must satisfy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor

from megavid import Detections, InputError, SessionGroup, VideoSession, detect_video, load_detector
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.models.adapters.frame_adapter import FrameAdapter
from tests.agreement import CPU, agreement, assert_same
from tests.models.adapters.outside_models import SSDLITE

MakeFrames = Callable[[int], list[Image]]


def push_all(session: VideoSession, frames: list[Image]) -> list[FrameResult]:
    return list(chain.from_iterable(session.push(frame) for frame in frames)) + session.flush()


@pytest.mark.parametrize("length", [1, 3])
def test_results_are_in_order_and_valid(outside: FrameAdapter, make_frames: MakeFrames, length: int) -> None:
    # An iterator has no length: saved boxes refuse a video that is known to be shorter.
    results = list(detect_video(outside, iter(make_frames(length))))
    assert [r.index for r in results] == list(range(length))
    for result in results:
        found = result.detections
        assert len(found) > 0
        assert found.boxes.dtype == found.scores.dtype == torch.float32
        assert found.labels.dtype == torch.int64
        assert found.class_names == outside.class_names
        assert ((found.labels >= 0) & (found.labels < len(outside.class_names))).all()
        assert (found.boxes[:, :2] >= 0).all()
        assert (found.boxes[:, 2:] <= found.boxes.new_tensor([96, 64])).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_streaming_equals_offline_and_has_no_delay(outside: FrameAdapter, make_frames: MakeFrames) -> None:
    frames = make_frames(5)
    session = VideoSession(outside)
    assert session.look_ahead == 0
    streamed = [session.push(frame) for frame in frames]
    assert [[r.index for r in ready] for ready in streamed] == [[0], [1], [2], [3], [4]]
    assert_same(list(detect_video(outside, frames)), list(chain.from_iterable(streamed)), outside.device)


def test_batches_change_rounding_only(outside: FrameAdapter, make_frames: MakeFrames) -> None:
    frames = make_frames(5)
    singly = list(detect_video(outside, frames))
    for batch_size in (2, 8):
        together = list(detect_video(outside, frames, batch_size=batch_size))
        assert agreement(together, singly, pixels=0.05, score=1e-3) > 0.98


def test_every_frame_is_found_in_once(
    outside: FrameAdapter, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    find = outside.find

    def counting(images: Tensor) -> Sequence[Detections]:
        sizes.append(len(images))
        return find(images)

    monkeypatch.setattr(outside, "find", counting)
    list(detect_video(outside, make_frames(5), batch_size=2))
    assert sizes == [2, 2, 1]


def test_sessions_do_not_affect_each_other(outside: FrameAdapter, make_frames: MakeFrames) -> None:
    frames = make_frames(3)
    small = [frame[:48] for frame in frames]  # frames of another size are another batch
    alone = [push_all(VideoSession(outside), video) for video in (frames, small)]
    sessions = [VideoSession(outside), VideoSession(outside)]
    group = SessionGroup(outside)
    pushed = [group.push(zip(sessions, pair, strict=True)) for pair in zip(frames, small, strict=True)]
    for session, expected in zip(sessions, alone, strict=True):
        together = [result for step in pushed for owner, result in step if owner is session]
        assert_same(together, expected, outside.device)


def test_thresholds(outside: FrameAdapter, make_frames: MakeFrames) -> None:
    frames = make_frames(1)
    [everything] = detect_video(outside, iter(frames))
    scores = everything.detections.scores
    threshold = scores[len(scores) // 2].item()
    [few] = detect_video(outside, iter(frames), score_threshold=threshold)
    assert 0 < len(few.detections) == (scores > threshold).sum() < len(scores)
    [none] = detect_video(outside, iter(frames), score_threshold=1 - 1e-15)
    assert len(none.detections) == 0
    assert none.detections.boxes.shape == (0, 4)


def test_a_prepared_detector_is_neither_saved_nor_prepared_again(outside: FrameAdapter) -> None:
    if not outside.is_prepared:
        outside.prepare(outside.inference)
    with pytest.raises(InputError, match="expected one loaded with inference=None"):
        outside.state_dict()
    with pytest.raises(ValueError, match="was prepared before"):
        outside.prepare(outside.inference)


def test_training_is_refused(outside: FrameAdapter) -> None:
    name = outside.config.method.name
    with pytest.raises(InputError, match=f"{name}: this detector cannot be trained"):
        outside.losses(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"{name} has no such part"):
        outside.compile_for_training()


@pytest.mark.parametrize("kind", [SSDLITE, "detr"])
def test_a_detector_is_moved_and_saved_until_it_is_prepared(
    kind: str, outside_files: Path, make_frames: MakeFrames, device: torch.device
) -> None:
    name = f"transformers:{outside_files / kind}" if kind == "detr" else f"torchvision:{kind}"
    weights = None if kind == "detr" else outside_files / f"{kind}.pth"
    still = load_detector(name, weights=weights, device=device, inference=None)
    moved = load_detector(name, weights=weights, device=CPU, inference=None)
    assert moved.double().float().to(device).device.type == device.type
    assert {tensor.device.type for tensor in (*moved.parameters(), *moved.buffers())} == {device.type}
    assert moved.state_dict().keys() == still.state_dict().keys() != set()
    frames = make_frames(2)
    still_results, moved_results = list(detect_video(still, frames)), list(detect_video(moved, frames))
    assert agreement(moved_results, still_results, pixels=0.05, score=1e-3) > 0.98
