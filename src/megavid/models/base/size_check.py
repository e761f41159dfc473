"""Check that a detector fits into memory before allocating it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from megavid.core.errors import InputError
from megavid.core.machine.memory import usable_memory
from megavid.models.base.detector_config import DetectorConfig
from megavid.models.base.video_detector import VideoDetector

_GB = 1e9


def check_memory(build: Callable[[DetectorConfig], VideoDetector], config: DetectorConfig) -> None:
    """Check that a detector's weights and its largest intermediate results for one frame fit into memory.

    Args:
        build: Function that makes the detector; it is called on PyTorch's device `meta`, on which tensors
            have shapes but take no memory.
        config: Configuration of the detector.

    Raises:
        InputError: The weights and results take more memory than this process may use.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            detector = build(config)
    except (NotImplementedError, RuntimeError):
        return  # a method outside the package may read values, which tensors on `meta` do not have
    weights = sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    parts = {"weights": weights, **detector.frame_bytes()}
    memory = usable_memory()
    if sum(parts.values()) > memory:
        sizes = ", ".join(f"{name} {size / _GB:.1f} GB" for name, size in parts.items())
        raise InputError(
            f"the model is too large for this machine, where {memory / _GB:.1f} GB can be used ({sizes}); "
            f"{detector.size_hint} help"
        )
