"""Bilinear resizing on any device, bit-identical to Pillow's.

Pillow resizes 8-bit images in fixed point: a horizontal pass, then a vertical one, each with coefficients of
22 fractional bits and rounding to 8 bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FRACTION_BITS = 22


def resize_bilinear(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize frames as Pillow does.

    Args:
        frames: (B, H, W, C) uint8.
        size: (height, width), with about the aspect ratio of the frames; for other ratios, Pillow may run the
            vertical pass first.

    Returns:
        (B, height, width, C) uint8.
    """
    height, width = size
    if width != frames.shape[2]:
        frames = _resize_axis(frames, 2, width)
    return frames if height == frames.shape[1] else _resize_axis(frames, 1, height)


def _resize_axis(frames: Tensor, axis: int, length: int) -> Tensor:
    indexes, weights = _taps_on(frames.device, frames.shape[axis], length)
    shape = [1, 1, 1, 1]
    shape[axis] = length
    total = torch.full((1,), 1 << (_FRACTION_BITS - 1), dtype=torch.int32, device=frames.device)
    for index, weight in zip(indexes, weights, strict=True):
        total = total + frames.index_select(axis, index).int() * weight.view(shape)
    return (total >> _FRACTION_BITS).clamp(0, 255).to(torch.uint8)


@cache
def _taps_on(device: torch.device, length: int, new_length: int) -> tuple[Tensor, Tensor]:
    """Return `_taps` as tensors on a device.

    They are never dropped, since CUDA graphs read them: a graph copies nothing from the host.
    """
    indexes, weights = _taps(length, new_length)
    return torch.from_numpy(indexes).to(device), torch.from_numpy(weights).to(device)


def _taps(length: int, new_length: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Compute indexes and weights of the pixels that make up each new pixel, both (taps, new_length)."""
    scale = length / new_length
    support = max(scale, 1.0)
    center = (np.arange(new_length) + 0.5) * scale
    low = np.maximum((center - support + 0.5).astype(np.int64), 0)
    high = np.minimum((center + support + 0.5).astype(np.int64), length)
    taps = int((high - low).max())
    indexes = low + np.arange(taps)[:, None]
    weights = 1 - np.abs((indexes - center + 0.5) * (1.0 / support))
    weights = np.where(indexes < high, np.maximum(weights, 0), 0.0)
    total = np.zeros(new_length)
    for row in weights:  # in Pillow's order of additions
        total += row
    fixed = np.floor(0.5 + weights / total * (1 << _FRACTION_BITS)).astype(np.int32)
    return np.minimum(indexes, length - 1), fixed
