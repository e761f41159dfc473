"""Feature maps moved along optical flow (Zhu et al., CVPR 2017, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(features: Tensor, flow: Tensor, *, align_corners: bool) -> Tensor:
    """A reference frame's map as seen from the current frame, by bilinear sampling.

    Args:
        features: (B, C, h, w).
        flow: (B, 2, h, w): displacements in x and y to where each cell is in `features`, cells.
        align_corners: True: cell x is taken from x + flow. False: from (x + flow) * n / (n - 1) - 1/2 in a
            map of n cells, which is what the original does since PyTorch 1.3 changed a default under it.

    Returns:
        (B, C, h, w). Beyond the border, the border goes on.
    """
    grid = sampling_grid(flow)
    sampled = F.grid_sample(
        features.float(), grid, mode="bilinear", padding_mode="border", align_corners=align_corners
    )
    return sampled.to(features.dtype)


def sampling_grid(flow: Tensor) -> Tensor:
    """(B, 2, h, w) -> (B, h, w, 2): where flow leads to, corner cells being at -1 and 1."""
    height, width = flow.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    position = torch.stack((x, y)) + flow.float()  # coordinates need float32 whatever the features are in
    half = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=flow.device) / 2
    return position.permute(0, 2, 3, 1) / half - 1
