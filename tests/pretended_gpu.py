"""A pretended GPU: its tensors have shapes but no data, so whatever depends on data or leaves it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from megavid.checkpoints.load import read_config
from megavid.core.config import with_overrides
from megavid.models.acceleration.inference import Inference
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.layers import resize
from megavid.models.method_registry import build_detector, detector_config
from tests.conftest import tiny_overrides

PRETENDED_GPU = torch.device("cuda")


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Make tensors without data, on a GPU that need not exist; what depends on data raises an exception."""
    resize._taps_on.cache_clear()
    try:
        with FakeTensorMode(), PRETENDED_GPU, torch.no_grad():
            yield
    finally:
        resize._taps_on.cache_clear()


class NoCopies(TorchDispatchMode):
    """Fails where a tensor goes from the host to the device, or a value from the device to the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in args if isinstance(x, Tensor) and x.ndim > 0}
        if isinstance(result, Tensor) and devices:
            devices.add(result.device.type)
        assert devices <= {PRETENDED_GPU.type}, f"{func}: {devices}"
        assert func is not torch.ops.aten._local_scalar_dense.default
        return result


def build_on_pretended_gpu(method: str) -> FasterRCNN:
    """Build a tiny detector with fixed shapes; call this inside `pretended_gpu`."""
    data, origin = read_config(f"{method}_r50")
    detector = build_detector(detector_config(with_overrides(data, tiny_overrides(method)), origin=origin))
    assert isinstance(detector, FasterRCNN)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    return detector
