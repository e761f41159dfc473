"""Detecting in several videos with one call gives the results of detecting one key frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from megavid.core.detections import Detections, FrameResult
from megavid.core.frames import Image
from megavid.core.reference_plans import window_indexes
from megavid.models.base.features import Window
from megavid.models.base.requests import KeyFrames
from megavid.models.base.video_detector import VideoDetector
from tests.agreement import assert_same
from tests.conftest import TINY_METHODS, build_tiny


def windows_of(detector: VideoDetector, images: Sequence[Image]) -> list[Window]:
    plan, frames = detector.plan, torch.stack([torch.from_numpy(image) for image in images])
    features = detector.encode_frames(frames.to(detector.device))
    size = (images[0].shape[0], images[0].shape[1])
    local = [[features[i] for i in window_indexes(plan, key, len(images))] for key in range(len(images))]
    known = features[: plan.global_frames]
    return [Window(key, features[key], local[key], known, size) for key in range(len(images))]


def one_by_one(
    detector: VideoDetector, windows: Sequence[Window], threshold: float | None
) -> list[Detections]:
    memory, found = detector.initial_memory(), []
    for window in windows:
        detections, memory = detector.detect(window, memory, score_threshold=threshold)
        found.append(detections.cpu())
    return found


@torch.no_grad()
@pytest.mark.parametrize("method", TINY_METHODS)
def test_several_videos_equal_single_key_frames(
    method: str, make_frames: Callable[[int], list[Image]], device: torch.device
) -> None:
    detector = build_tiny(method, device)
    images = make_frames(6)
    videos = [windows_of(detector, images[:4]), windows_of(detector, images[2:])]
    thresholds = (None, 0.05)
    memories = [detector.initial_memory() for _ in videos]
    found: list[list[Detections]] = [[], []]
    for part in (slice(0, 3), slice(3, 4)):
        requests = [
            KeyFrames(windows[part], memory, threshold)
            for windows, memory, threshold in zip(videos, memories, thresholds, strict=True)
        ]
        pending, memories = detector.detect_videos(requests)
        for video, detections in zip(found, pending.wait(), strict=True):
            video.extend(detections)
    for video, windows, threshold in zip(found, videos, thresholds, strict=True):
        expected = one_by_one(detector, windows, threshold)
        assert sum(map(len, expected)) > 0
        as_results = [[FrameResult(i, 0.0, one) for i, one in enumerate(many)] for many in (video, expected)]
        assert_same(as_results[0], as_results[1], device)
