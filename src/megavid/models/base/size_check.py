"""Whether a detector fits into memory, before any is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from megavid.core.errors import InputError
from megavid.core.machine.memory import usable_memory
from megavid.models.base.detector import DetectorConfig, VideoDetector

_GB = 1e9
_FLOAT = 4
"""Bytes."""


def check_memory(
    build: Callable[[DetectorConfig[Any]], VideoDetector[Any, Any]], config: DetectorConfig[Any]
) -> None:
    """Check that a detector's weights and its largest values for one frame fit into memory.

    Args:
        build: Makes the detector; it is called on a device that has shapes but no memory.
        config: Of the detector.

    Raises:
        InputError: They take more than this process may use; the message says how much.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            detector = build(config)
    except (NotImplementedError, RuntimeError):
        return  # a method of one's own may look at values, which such a device has not
    weights = sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    cells = config.rpn.proposals * config.head.pool_size**2
    pooled = _FLOAT * cells * detector.backbone.c5_channels
    first_map = _FLOAT * config.backbone.width * config.input.min_size * config.input.max_size // 4
    memory = usable_memory()
    if weights + pooled + first_map > memory:
        raise InputError(
            f"the model is too large for this machine, where {memory / _GB:.1f} GB can be used: its weights "
            f"take {weights / _GB:.1f} GB, a frame's pooled proposals {pooled / _GB:.1f} GB and its first "
            f"map {first_map / _GB:.1f} GB; smaller values of backbone.width, method.hidden, head.pool_size, "
            "rpn.proposals or input.max_size help"
        )
