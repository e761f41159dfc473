"""With fixed shapes, methods detect the same, and nothing between upload and result depends on data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from megavid.checkpoints.load import read_config
from megavid.core.config import with_overrides
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.models.acceleration.inference import Inference
from megavid.models.base.features import Window
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.faster_rcnn.postprocess import rank_detections
from megavid.models.layers import resize
from megavid.models.method_registry import build_detector, detector_config
from megavid.runtime.detect_video import detect_video
from tests.agreement import agreement
from tests.conftest import TINY_METHODS, build_tiny, tiny_overrides

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
    method: str, whole: bool, causal: bool, make_frames: MakeFrames
) -> None:
    changes: dict[str, Any] = dict(SPARSE)
    if "reference_proposals" in read_config(f"{method}_r50")[0]["method"]:
        changes["method.reference_proposals"] = 35
    usual, fixed = build_tiny(method, **changes), build_tiny(method, **changes)
    for detector in (usual, fixed):
        detector.prepare(Inference.plain())
    fixed.use_fixed_shapes()
    frames = make_frames(13)
    results = detect(usual, frames, whole=whole, causal=causal)
    assert sum(len(result.detections) for result in results) > 100
    fixed_results = detect(fixed, frames, whole=whole, causal=causal)
    assert [result.time for result in fixed_results] == [result.time for result in results]
    assert agreement(fixed_results, results, pixels=0.05, score=1e-4) == 1


def test_a_part_of_the_proposals_is_padding(make_frames: MakeFrames) -> None:
    detector = build_tiny("single_frame", **SPARSE)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    [features] = detector.encode_frames(torch.from_numpy(make_frames(1)[0])[None])
    assert features.proposals.shape == (40, 4)
    assert 10 < int(features.valid.sum()) < 35  # the number of references in the test above
    assert features.valid.tolist() == sorted(features.valid.tolist(), reverse=True)


class NoCopies(TorchDispatchMode):
    """Fails where a tensor goes from the host to the device, or a value from the device to the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in args if isinstance(x, Tensor) and x.ndim > 0}
        if isinstance(result, Tensor) and devices:
            devices.add(result.device.type)
        assert devices <= {"cuda"}, f"{func}: {devices}"
        assert func is not torch.ops.aten._local_scalar_dense.default
        return result


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Make tensors without data, on a GPU that need not exist; what depends on data raises an exception."""
    resize._taps_on.cache_clear()
    try:
        with FakeTensorMode(), torch.device("cuda"), torch.no_grad():
            yield
    finally:
        resize._taps_on.cache_clear()


def build_on_pretended_gpu(method: str) -> FasterRCNN:
    data, origin = read_config(f"{method}_r50")
    detector = build_detector(detector_config(with_overrides(data, tiny_overrides(method)), origin=origin))
    assert isinstance(detector, FasterRCNN)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    return detector


def step(detector: FasterRCNN, frames: Tensor) -> list[Tensor]:
    """Take a batch through upload to ranked boxes, as the captured functions do."""
    features = detector.encode(detector.preprocess(frames))
    plan, memory, outputs = detector.plan, detector.initial_memory(), list[HeadOutput]()
    for number in range(3):
        local = [features[(number + i) % len(features)] for i in range(plan.past + 1 + plan.future)]
        others = [features[i % len(features)] for i in range(min(plan.global_frames, number + 1))]
        window = Window(number, local[plan.past], local, others, (64, 96))
        output, memory = detector.predict(*detector.fixed_inputs(window, memory))
        outputs.append(output)
    return list(rank_detections(outputs, detector.config.head, score_threshold=0.01))


@pytest.mark.parametrize("method", TINY_METHODS)
def test_nothing_depends_on_data(method: str) -> None:
    with pretended_gpu():
        detector = build_on_pretended_gpu(method)
        frames = torch.empty(FRAME, dtype=torch.uint8)
        with torch.autocast("cuda", dtype=torch.float16):
            step(detector, frames)  # weights of the resizing filter are copied once
            with NoCopies():
                ranked = step(detector, frames)
    classes = len(detector.class_names)
    assert [x.shape for x in ranked] == [(detector.config.rpn.post_nms_top_n * classes, 6)] * 3


def test_what_depends_on_data_is_found() -> None:
    with pretended_gpu():
        scores = torch.empty(5)
        with pytest.raises(Exception, match="nonzero|[Dd]ynamic"):
            torch.where(scores > 0)
        with NoCopies(), pytest.raises(AssertionError, match="cpu"):
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
def test_a_step_can_be_exported(method: str, make_frames: MakeFrames) -> None:
    detector = build_tiny(method)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    images = detector.preprocess(torch.from_numpy(make_frames(1)[0])[None])
    with torch.no_grad():
        exported = torch.export.export(Step(detector), (images,), strict=False)
        torch.testing.assert_close(exported.module()(images), Step(detector)(images))
