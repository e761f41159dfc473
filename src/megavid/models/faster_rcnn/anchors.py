"""Anchor boxes of a region proposal network (Ren et al., NeurIPS 2015)."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_anchors(*, stride: int, sizes: tuple[int, ...], ratios: tuple[float, ...]) -> Tensor:
    """Compute the anchors of the first cell, (len(ratios) * len(sizes), 4), half-open, by ratio, then size.

    Each ratio (height / width) gives a box with integer sides and about the area of the cell, centered on the
    cell's pixels; each size scales this box. Like Detectron, this rounds the sides before scaling.
    """
    anchors = []
    center = (stride - 1) / 2 + 0.5  # center of pixels 0 .. stride - 1, in half-open coordinates
    for ratio in ratios:
        width = round((stride * stride / ratio) ** 0.5)
        height = round(width * ratio)
        for size in sizes:
            w, h = width * size / stride, height * size / stride
            anchors.append((center - w / 2, center - h / 2, center + w / 2, center + h / 2))
    return torch.tensor(anchors, dtype=torch.float32)


def grid_anchors(cell: Tensor, *, stride: int, height: int, width: int) -> Tensor:
    """Repeat the A anchors of a cell over a map: (height * width * A, 4), by row, column, then anchor."""
    y, x = torch.meshgrid(
        torch.arange(height, device=cell.device) * stride,
        torch.arange(width, device=cell.device) * stride,
        indexing="ij",
    )
    shifts = torch.stack((x, y, x, y), dim=2).reshape(-1, 1, 4)
    return (shifts + cell).reshape(-1, 4)
