"""RoI pooling and warping as weighted sums of cells, for CPUs.

The average of a bin's bilinear samples is a weighted sum of cells of the map, in which a cell's weight is the
product of a weight for its row and one for its column. A warped cell is such a sum, too. On a CPU, listing
the nonzero weights and summing whole cells (all channels at once) takes a tenth of the time that sampling
point by point takes.

Shapes: P RoIs of n x n bins; C channels of h x w cells.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from megavid.core import box_ops
from megavid.models.acceleration.kernels import MapKernels
from megavid.models.layers.warp import sampling_grid

_CHUNK_ROIS = 512
"""Number of RoIs whose cells and weights are listed at a time."""


def pool_cells(maps: Tensor, boxes: list[Tensor], *, pool_size: int, stride: int) -> Tensor:
    """Pool RoIs as weighted sums of cells; in the result, bins come before channels.

    Args:
        maps: (B, C, h, w); pooling is fastest if channels come last in memory.
        boxes: (P_i, 4) boxes of each image, half-open, input pixels.
        pool_size: n.
        stride: Input pixels per cell of the map.

    Returns:
        (sum of P_i, n * n * C) in the dtype of the maps.
    """
    height, width = maps.shape[2:]
    rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
    ends = box_ops.to_inclusive(torch.cat(boxes).float()) / stride
    image = torch.repeat_interleave(torch.tensor([len(b) for b in boxes], device=rows.device))
    nothing = rows.new_empty(0, pool_size**2 * maps.shape[1])
    parts = [
        _sums(rows, image[chunk] * height * width, ends[chunk], pool_size, (height, width))
        for chunk in (slice(start, start + _CHUNK_ROIS) for start in range(0, len(ends), _CHUNK_ROIS))
    ]
    return parts[0] if len(parts) == 1 else torch.cat([nothing, *parts])


def _sums(rows: Tensor, first_cell: Tensor, ends: Tensor, bins: int, size: tuple[int, int]) -> Tensor:
    """Compute the bins of P RoIs, (P, n * n * C), as weighted sums of cells.

    Args:
        rows: (B * h * w, C), the cells of all maps.
        first_cell: (P,), row of the first cell of each RoI's image.
        ends: (P, 4), x1, y1, x2 and y2 of each RoI, in cells.
    """
    y, weight_y = _cells(ends[:, 1], ends[:, 3], bins=bins, size=size[0])
    x, weight_x = _cells(ends[:, 0], ends[:, 2], bins=bins, size=size[1])
    cell = (first_cell[:, None, None] + y * size[1])[:, :, None, :, None] + x[:, None, :, None, :]
    weight = (weight_y[:, :, None, :, None] * weight_x[:, None, :, None, :]).flatten(0, 2).flatten(1)
    taken = weight != 0
    count = taken.sum(1)
    pooled = F.embedding_bag(
        cell.flatten(0, 2).flatten(1)[taken],
        rows,
        count.cumsum(0) - count,
        mode="sum",
        per_sample_weights=weight[taken].to(rows.dtype),
    )
    return pooled.view(len(ends), bins**2 * rows.shape[1])


def _cells(low: Tensor, high: Tensor, *, bins: int, size: int) -> tuple[Tensor, Tensor]:
    """Find the cells along one axis that each bin of each RoI averages, and their weights, both (P, bins, S).

    A sample at position p lies between cells floor(p) and floor(p) + 1. A sample outside [-1, size] counts as
    zero; a sample within that range but beyond the map takes the value of the map's border. S is enough cells
    for the widest bin; cells that a bin does not need have weight zero.

    Args:
        low, high: (P,), start and end of each RoI along the axis, in cells.
    """
    low, high = low.nan_to_num(), high.nan_to_num()  # NaN of a diverged network must not cause a crash
    step = (high - low).clamp(min=1.0) / bins
    samples = step.ceil()
    most = int(samples.max()) if len(samples) else 0
    sample = torch.arange(most, device=low.device)
    start = low[:, None] + step[:, None] * torch.arange(bins, device=low.device)
    position = start[:, :, None] + (step / samples)[:, None, None] * (sample + 0.5)
    counts = (sample < samples[:, None])[:, None] & (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    cell = position.floor()
    part = (position - cell).where(counts, position.new_zeros(()))
    rest = counts.float() - part
    first = start.clamp(0, size - 1).floor()
    # A bin has up to `most` samples, at most one cell apart, so the cells beside them are among the
    # `most` + 2 cells from `first` on.
    weight = position.new_zeros(*start.shape, most + 2)
    offset = (cell - first[:, :, None]).long()
    weight.scatter_add_(2, offset, rest).scatter_add_(2, offset + 1, part)
    cells = first[:, :, None].long() + torch.arange(most + 2, device=low.device)
    return cells.clamp(max=size - 1), weight / samples[:, None, None]


def warp_cells(features: Tensor, flow: Tensor, *, align_corners: bool) -> Tensor:
    """Warp maps like `layers.warp.warp`, but as weighted sums of cells.

    Warping is fastest if the channels of `features` come last in memory, as they do in the result.
    """
    batch, channels, height, width = features.shape
    size = torch.tensor([width, height], device=flow.device)
    grid = sampling_grid(flow)
    position = (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2
    # NaN and infinity of a diverged network must not cause a crash.
    position = position.nan_to_num().clamp(min=0).minimum(size - 1.0)
    low = position.floor()
    part = position - low
    near, far = low.long(), (low.long() + 1).minimum(size - 1)
    image = torch.arange(batch, device=flow.device)[:, None, None]
    corners = [((1 - part), near), (part, far)]
    cells = [
        ((image * height + y[..., 1]) * width + x[..., 0], weight_y[..., 1] * weight_x[..., 0])
        for weight_y, y in corners
        for weight_x, x in corners
    ]
    moved = F.embedding_bag(
        torch.stack([cell.flatten() for cell, _ in cells], dim=1),
        features.permute(0, 2, 3, 1).reshape(-1, channels),
        mode="sum",
        per_sample_weights=torch.stack([weight.flatten() for _, weight in cells], dim=1).to(features.dtype),
    )
    return moved.view(batch, height, width, channels).permute(0, 3, 1, 2)


CELL_SUMS = MapKernels(pool=pool_cells, warp=warp_cells, bins_first=True, channels_last=True)
"""Faster kernels for CPUs, which sum whole cells."""
