"""Registers the kernels of this package as the CUDA implementations of their operators."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from megavid.models.layers.relation import GeometryBiases
from megavid.models.layers.suppression import suppress

logger = logging.getLogger(__name__)


@cache
def has_triton() -> bool:
    """Return whether Triton is installed for NVIDIA GPUs, which the kernels of this package are for."""
    return torch.version.hip is None and find_spec("triton") is not None


@cache
def runs_triton(device: torch.device) -> bool:
    """Return whether Triton can compile a kernel for a device and run it; warn if it is there but cannot."""
    if device.type != "cuda" or not has_triton():
        return False
    box = torch.zeros(1, 1, 4, device=device)
    try:
        suppress(box, box[..., 0], None, 0.5, 1)
        torch.cuda.synchronize(device)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        logger.warning("CUDA graphs are off, since Triton does not work on %s: %s", device, reason)
        return False
    return True


def _suppress(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float, limit: int) -> Tensor:
    module = import_module("megavid.models.acceleration.cuda.bitmask_suppression")
    with torch.cuda.device_of(boxes):  # Triton launches on the current device
        keep: Tensor = module.suppress_by_bitmask(boxes, scores, groups, threshold, limit)
    return keep


if has_triton():
    suppress.register_kernel("cuda")(_suppress)


def triton_geometry_biases() -> GeometryBiases:
    """Return `fused_geometry_biases`, which needs Triton."""
    module = import_module("megavid.models.acceleration.cuda.geometry")
    biases: GeometryBiases = module.fused_geometry_biases
    return biases
