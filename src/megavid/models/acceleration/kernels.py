"""Kernels that sample maps: their interface, and kernels for any device (`cpu.cells` has faster ones)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from megavid.models.layers.pooling import pool_rois
from megavid.models.layers.warp import warp


class Pool(Protocol):
    """RoIAlign; see `layers.pooling.pool_rois`."""

    def __call__(self, maps: Tensor, boxes: list[Tensor], *, pool_size: int, stride: int) -> Tensor: ...


class Warp(Protocol):
    """Warping along optical flow; see `layers.warp.warp`."""

    def __call__(self, features: Tensor, flow: Tensor, *, align_corners: bool) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class MapKernels:
    """Functions that sample maps, and the data layout that they expect.

    Attributes:
        pool: RoIAlign.
        warp: Warping along optical flow.
        bins_first: Whether bins come before channels in a pooled RoI.
        channels_last: Whether maps are read fastest with the channels of a cell side by side in memory.
    """

    pool: Pool
    warp: Warp
    bins_first: bool
    channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory layout in which maps are read fastest."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


SAMPLING = MapKernels(pool=pool_rois, warp=warp, bins_first=False, channels_last=False)
"""Kernels for any device, which sample point by point."""
