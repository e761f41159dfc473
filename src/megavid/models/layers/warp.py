"""Warp feature maps along optical flow (Zhu et al., CVPR 2017, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_CHANNEL_GROUPS = 16
"""Number of groups that channels are sampled in on a GPU, where one thread samples all channels of a group in
a cell, so that a map without groups would leave most of the GPU idle."""


def warp(features: Tensor, flow: Tensor, *, align_corners: bool) -> Tensor:
    """Warp the map of a reference frame to the current frame, by bilinear sampling.

    Args:
        features: (B, C, h, w).
        flow: (B, 2, h, w): displacements in x and y, in cells, from each cell to its place in `features`.
        align_corners: If True, cell x is sampled at x + flow; if False, at (x + flow) * n / (n - 1) - 1/2 in
            a map of n cells, as the original does since PyTorch 1.3 changed a default.

    Returns:
        (B, C, h, w). Positions beyond the border take the value of the border.
    """
    groups = 1 if features.device.type == "cpu" else math.gcd(features.shape[1], _CHANNEL_GROUPS)
    return _sample(features, sampling_grid(flow), groups=groups, align_corners=align_corners)


def sampling_grid(flow: Tensor) -> Tensor:
    """Convert flow (B, 2, h, w) to the positions it leads to, (B, h, w, 2), with corner cells at -1 and 1."""
    height, width = flow.shape[2:]
    move_x, move_y = flow.float().unbind(1)  # coordinates need float32, whatever the features have
    x = torch.arange(width, device=flow.device) + move_x
    y = torch.arange(height, device=flow.device)[:, None] + move_y
    # Plain numbers, since a tensor of them would be copied from the host, which a CUDA graph cannot hold.
    position = torch.stack((x / (max(width - 1, 1) / 2), y / (max(height - 1, 1) / 2)), dim=1)
    return position.permute(0, 2, 3, 1) - 1


def _sample(features: Tensor, grid: Tensor, *, groups: int, align_corners: bool) -> Tensor:
    """Sample maps (B, C, h, w) at positions (B, h, w, 2), each group of channels as a map of its own."""
    sampled = F.grid_sample(
        features.float().unflatten(1, (groups, -1)).flatten(0, 1),
        grid[:, None].expand(-1, groups, -1, -1, -1).flatten(0, 1),
        mode="bilinear",
        padding_mode="border",
        align_corners=align_corners,
    )
    return sampled.to(features.dtype).reshape(features.shape)
