"""Warp feature maps along optical flow (Zhu et al., CVPR 2017, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
    grid = sampling_grid(flow)
    sampled = F.grid_sample(
        features.float(), grid, mode="bilinear", padding_mode="border", align_corners=align_corners
    )
    return sampled.to(features.dtype)


def sampling_grid(flow: Tensor) -> Tensor:
    """Convert flow (B, 2, h, w) to the positions it leads to, (B, h, w, 2), with corner cells at -1 and 1."""
    height, width = flow.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    position = torch.stack((x, y)) + flow.float()  # coordinates need float32, whatever the features have
    half = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=flow.device) / 2
    return position.permute(0, 2, 3, 1) / half - 1
