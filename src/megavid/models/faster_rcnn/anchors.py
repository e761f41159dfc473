"""Anchor boxes of a region proposal network (Ren et al., NeurIPS 2015)."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_anchors(*, stride: int, sizes: tuple[int, ...], ratios: tuple[float, ...]) -> Tensor:
    """Anchors of the feature map's first cell, half-open, (len(ratios) * len(sizes), 4), ratio-major.

    Each ratio (height / width) gives a box of about the cell's area with whole sides, centred on the
    cell's pixels; each size scales it. Rounding the sides before scaling is Detectron's.
    """
    anchors = []
    centre = (stride - 1) / 2 + 0.5  # half-open: the middle of pixels 0 .. stride - 1
    for ratio in ratios:
        width = round((stride * stride / ratio) ** 0.5)
        height = round(width * ratio)
        for size in sizes:
            w, h = width * size / stride, height * size / stride
            anchors.append((centre - w / 2, centre - h / 2, centre + w / 2, centre + h / 2))
    return torch.tensor(anchors, dtype=torch.float32)


def grid_anchors(cell: Tensor, *, stride: int, height: int, width: int) -> Tensor:
    """The cell's A anchors at every place of a map, (height * width * A, 4), by row, column, anchor."""
    y, x = torch.meshgrid(
        torch.arange(height, device=cell.device) * stride,
        torch.arange(width, device=cell.device) * stride,
        indexing="ij",
    )
    shifts = torch.stack((x, y, x, y), dim=2).reshape(-1, 1, 4)
    return (shifts + cell).reshape(-1, 4)
