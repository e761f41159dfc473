"""With fixed shapes, methods detect the same, and nothing between upload and result depends on data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from megavid.checkpoints.load import read_config
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.models.acceleration.inference import Inference
from megavid.models.base.features import Window
from megavid.models.base.requests import KeyFrames
from megavid.models.faster_rcnn.batched_faster_rcnn import BatchedFasterRCNN
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.faster_rcnn.postprocess import rank_detections
from megavid.runtime.detect_video import detect_video
from tests.agreement import assert_agree
from tests.conftest import TINY_METHODS, build_tiny, network_input
from tests.pretended_gpu import PRETENDED_GPU, NoCopies, build_on_pretended_gpu, pretended_gpu
from tests.tolerances import other_shapes

MakeFrames = Callable[[int], list[Image]]

SPARSE = {"rpn.post_nms_top_n": 40, "rpn.pre_nms_top_n": 60, "rpn.nms_threshold": 0.3}
"""Settings with which frames have fewer than 40 proposals, so that the rest is padding."""

FRAME = (4, 64, 96, 3)


def detect(detector: FasterRCNN, frames: list[Any], *, whole: bool, causal: bool) -> list[FrameResult]:
    video = frames if whole else iter(frames)
    return list(detect_video(detector, video, causal=causal, batch_size=3))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("method", TINY_METHODS)
def test_padding_changes_no_detection(
    method: str, whole: bool, causal: bool, make_frames: MakeFrames, device: torch.device
) -> None:
    changes: dict[str, Any] = dict(SPARSE)
    if "reference_proposals" in read_config(f"{method}_r50")[0]["method"]:
        changes["method.reference_proposals"] = 35
    usual, fixed = build_tiny(method, device, **changes), build_tiny(method, device, **changes)
    for detector in (usual, fixed):
        detector.prepare(Inference.plain())
    fixed.use_fixed_shapes()
    frames = make_frames(13)
    results = detect(usual, frames, whole=whole, causal=causal)
    assert sum(len(result.detections) for result in results) > 100
    fixed_results = detect(fixed, frames, whole=whole, causal=causal)
    assert [result.time for result in fixed_results] == [result.time for result in results]
    assert_agree(fixed_results, results, other_shapes(device))


@pytest.mark.parametrize("entering", [60, 15])
def test_memory_is_no_longer_with_few_proposals(
    entering: int, make_frames: MakeFrames, device: torch.device
) -> None:
    changes = {"method.reference_proposals": 35, "method.distilled_proposals": 30, "method.memory": 2}
    changes |= {"rpn.pre_nms_top_n": entering, "rpn.post_nms_top_n": 20}
    usual, fixed = build_tiny("mega", device, **changes), build_tiny("mega", device, **changes)
    for detector in (usual, fixed):
        detector.prepare(Inference.plain())
    fixed.use_fixed_shapes()
    frames = make_frames(13)
    results, fixed_results = (detect(x, frames, whole=True, causal=False) for x in (usual, fixed))
    assert_agree(fixed_results, results, other_shapes(device))


def test_sessions_of_different_thresholds_share_a_detector(
    make_frames: MakeFrames, device: torch.device
) -> None:
    usual, fixed = build_tiny("single_frame", device), build_tiny("single_frame", device)
    for detector in (usual, fixed):
        detector.prepare(Inference.plain())
    fixed.use_fixed_shapes()
    frames, counts = make_frames(2), []
    for threshold in (0.35, 0.25, 0.35, 0.0):
        results = [
            list(detect_video(detector, frames, score_threshold=threshold)) for detector in (usual, fixed)
        ]
        counts.append([sum(len(result.detections) for result in found) for found in results])
    assert [fixed_count for _, fixed_count in counts] == [count for count, _ in counts]
    assert counts[0] == counts[2] < counts[1] < counts[3]


@pytest.mark.parametrize("method", TINY_METHODS)
def test_only_methods_that_know_padding_get_it(
    method: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = build_tiny(method, device)
    assert detector.acceleration_plan().use_fixed_shapes is not None
    monkeypatch.setattr(type(detector), "knows_padding", False)
    assert detector.acceleration_plan().use_fixed_shapes is None
    assert not detector.pads_clips


def test_a_part_of_the_proposals_is_padding(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("single_frame", device, **SPARSE)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    [features] = detector.encode_frames(torch.from_numpy(make_frames(1)[0])[None].to(device))
    assert features.proposals.shape == (40, 4)
    assert 10 < int(features.valid.sum()) < 35  # the number of references in the test above
    assert features.valid.tolist() == sorted(features.valid.tolist(), reverse=True)


def step(detector: FasterRCNN, frames: Tensor) -> list[Tensor]:
    """Take a batch through upload to ranked boxes, as the captured functions do."""
    features = detector.encode(detector.preprocess(frames))
    plan, memory, outputs = detector.plan, detector.initial_memory(), list[HeadOutput]()
    windows: list[Window[Any]] = []
    for number in range(3):
        local = [features[(number + i) % len(features)] for i in range(plan.past + 1 + plan.future)]
        others = [features[i % len(features)] for i in range(min(plan.global_frames, number + 1))]
        window = Window(number, local[plan.past], local, others, (64, 96))
        window, memory = detector.fixed_inputs(window, memory)
        if not isinstance(detector, BatchedFasterRCNN):
            output, memory = detector.predict(window, memory)
            outputs.append(output)
        windows.append(window)
    if isinstance(detector, BatchedFasterRCNN):
        outputs, _ = detector.predict_batch([KeyFrames(windows, memory)])
    return list(rank_detections(outputs, detector.config.head, score_threshold=0.01))


@pytest.mark.parametrize("method", TINY_METHODS)
def test_nothing_depends_on_data(method: str) -> None:
    with pretended_gpu():
        detector = build_on_pretended_gpu(method)
        frames = torch.empty(FRAME, dtype=torch.uint8, device=PRETENDED_GPU)
        with torch.autocast(PRETENDED_GPU.type, dtype=torch.float16):
            step(detector, frames)  # weights of the resizing filter are copied once
            with NoCopies():
                ranked = step(detector, frames)
    classes = len(detector.class_names)
    assert [x.shape for x in ranked] == [(detector.config.rpn.post_nms_top_n * classes, 6)] * 3


def test_what_depends_on_data_is_found() -> None:
    with pretended_gpu():
        scores = torch.empty(5, device=PRETENDED_GPU)
        with pytest.raises(Exception, match="nonzero|[Dd]ynamic"):
            torch.where(scores > 0)
        with NoCopies(), pytest.raises(AssertionError, match="to_copy"):
            scores.cpu()


class Step(nn.Module):
    """A detector's step as a module that can be exported; its network is a part of it."""

    def __init__(self, detector: FasterRCNN) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        detector, plan = self.detector, self.detector.plan
        features = detector.encode(images)
        local = features[:1] * (plan.past + 1 + plan.future)
        window = Window(0, features[0], local, features[:1] * plan.global_frames, (64, 96))
        output, _ = detector.predict(*detector.fixed_inputs(window, detector.initial_memory()))
        return rank_detections([output], detector.config.head, score_threshold=0.01)


@pytest.mark.parametrize("method", TINY_METHODS)
def test_a_step_can_be_exported(method: str, make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny(method, device)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    images = network_input(detector, make_frames(1))
    with torch.no_grad():
        exported = torch.export.export(Step(detector), (images,), strict=False)
        torch.testing.assert_close(exported.module()(images), Step(detector)(images))
