"""With fixed shapes, training computes the same losses, and nothing up to the gradients depends on data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from megavid.checkpoints.load import read_config
from megavid.core.config import with_overrides
from megavid.core.frames import Image
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.method_registry import build_detector, detector_config
from megavid.training.clips.clip_reader import TrainingClip
from tests.agreement import assert_close
from tests.conftest import TINY_METHODS, build_tiny, tiny_overrides, total
from tests.pretended_gpu import PRETENDED_GPU

MakeFrames = Callable[[int], list[Image]]

SPARSE: dict[str, Any] = {"rpn.post_nms_top_n": 40, "rpn.pre_nms_top_n": 60, "rpn.nms_threshold": 0.3}
"""Settings with which frames have fewer than 40 proposals, so that the rest is padding."""


def stacked(frames: list[Image]) -> Tensor:
    return torch.from_numpy(np.stack(frames))


def sparse_overrides(method: str) -> dict[str, Any]:
    has_references = "reference_proposals" in read_config(f"{method}_r50")[0]["method"]
    return SPARSE | ({"method.reference_proposals": 35} if has_references else {})


def make_clip(detector: FasterRCNN, frames: Tensor, **changes: Any) -> TrainingClip:
    """Return a clip of frames (U, H, W, 3) with two objects, on the host."""
    places = iter(range(1, 100))
    clip = TrainingClip(
        frames=frames,
        references={
            group.name: tuple(next(places) % len(frames) for _ in range(group.count))
            for group in detector.training_plan.groups
        },
        boxes=torch.from_numpy(np.array([[8, 10, 40, 50], [50, 5, 90, 45]], np.float32)),
        labels=torch.from_numpy(np.array([2, 0])),
        flip=True,
        seed=5,
        name="clip",
    )
    return replace(clip, **changes)


@pytest.mark.parametrize("sampled", [128, 16])
@pytest.mark.parametrize("method", TINY_METHODS)
def test_padding_changes_no_loss_and_no_gradient(
    method: str, sampled: int, make_frames: MakeFrames, device: torch.device
) -> None:
    """Sample the first candidates, so that padding does not change which RoIs are sampled."""
    results = []
    for fixed in (False, True):
        changes = sparse_overrides(method) | {"head.batch_size_per_image": sampled}
        detector = build_tiny(method, device, **changes)
        detector.fixed_shapes = fixed
        clip = make_clip(detector, stacked(make_frames(4))).ready(detector)
        losses = detector.losses(replace(clip, generator=None))
        total(losses).backward()
        results.append((losses, {n: p.grad for n, p in detector.named_parameters() if p.grad is not None}))
    (losses, gradients), (fixed_losses, fixed_gradients) = results
    for name, loss in losses.items():
        assert_close(fixed_losses[name], loss, rtol=1e-5, atol=1e-6)
    assert fixed_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert_close(fixed_gradients[name], gradient, rtol=1e-3, atol=1e-5)


class Dispatched(TorchDispatchMode):
    """Records the operations of a step that depend on data or copy from the host to a GPU or back.

    Attributes:
        dependent: Operations whose shapes or results on the host depend on data.
        copies: Copies between the host and a GPU, and whether each goes on while the host does.
        count: Number of operations.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dependent, self.copies, self.count = list[str](), list[tuple[str, bool]](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._pin_memory.default:
            return args[0]  # there is no GPU to pin it for
        result = func(*args, **(kwargs or {}))
        self.count += 1
        if func is torch.ops.aten.index.Tensor:  # depends on data if an index is a mask
            dependent = any(index is not None and index.dtype == torch.bool for index in args[1])
        else:
            dependent = bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*func.tags})
        if dependent:
            self.dependent.append(str(func))
        devices = {x.device.type for x in (*args, result) if isinstance(x, Tensor) and x.ndim > 0}
        if len(devices) > 1:
            self.copies.append((str(func), bool((kwargs or {}).get("non_blocking"))))
        return result


NO_OBJECTS = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


@pytest.mark.parametrize("changes", [{}, NO_OBJECTS], ids=["objects", "no objects"])
@pytest.mark.parametrize("method", TINY_METHODS)
def test_no_operation_of_a_training_step_depends_on_data(
    method: str, changes: dict[str, Tensor], make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny(method, device)
    detector.fixed_shapes = True
    clip = make_clip(detector, stacked(make_frames(4)), **changes)
    with Dispatched() as dispatched:
        total(detector.losses(clip.ready(detector))).backward()
    assert dispatched.count > 100
    assert dispatched.dependent == []


@pytest.mark.parametrize("method", TINY_METHODS)
def test_losses_on_a_gpu_copy_only_the_clip_and_random_orders(method: str) -> None:
    """Compute losses on a GPU that need not exist, with tensors without data."""
    data, origin = read_config(f"{method}_r50")
    config = detector_config(with_overrides(data, tiny_overrides(method)), origin=origin)
    with FakeTensorMode():
        with PRETENDED_GPU:
            detector = build_detector(config)
        assert isinstance(detector, FasterRCNN)
        with Dispatched() as dispatched:
            clip = make_clip(detector, torch.from_numpy(np.zeros((4, 64, 96, 3), np.uint8)))
            detector.losses(clip.ready(detector))
    assert dispatched.dependent == []
    # The frames, boxes and labels of the clip, and the random orders of anchors and RoIs.
    assert dispatched.copies == [("aten._to_copy.default", True)] * 5
