"""RoIAlign as one matrix product per image, for GPUs in half precision.

The average of a bin's bilinear samples is a weighted sum of cells of the map, in which a cell's weight is the
product of a weight for its row and one for its column. Written out for all cells, nearly all weights are
zero, but a GPU multiplies matrices in half precision much faster than it gathers samples, and no shape
depends on data.

Shapes: B images of P RoIs with n x n bins; C channels of h x w cells.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from megavid.core import box_ops
from megavid.models.acceleration.kernels import MapKernels
from megavid.models.layers.warp import warp

_WEIGHT_BYTES = 512 << 20
"""Largest size of a matrix of weights."""
_ALIGNMENT = 8
"""Rows of a half-precision matrix begin at multiples of this many elements, for tensor cores."""
_NEAR_SAMPLES = 6
"""More than the number of samples that contribute to a cell: they lie within two cells, and if there is more
than one sample in a bin, they are over half a cell apart."""


def pool_dense(maps: Tensor, boxes: Tensor, *, pool_size: int, stride: int) -> Tensor:
    """Pool RoIs like `layers.pooling.pool_rois`; in the result, bins come before channels. For inference.

    Args:
        maps: (B, C, h, w); pooling is fastest if channels come last in memory.
        boxes: (B, P, 4), half-open, input pixels.
        pool_size: n.
        stride: Input pixels per cell of the map.

    Returns:
        (B * P, n * n * C) in the dtype of the maps. Weights are rounded to that dtype.
    """
    images, channels, height, width = maps.shape
    padding = -width % _ALIGNMENT
    # An infinite cell times a weight of zero would be NaN, in all RoIs of the image.
    cells = F.pad(maps.nan_to_num(), (0, padding)).permute(0, 2, 3, 1).reshape(images, -1, channels)
    ends = box_ops.to_inclusive(boxes.float()) / stride
    weight_y = _weights(ends[..., 1], ends[..., 3], bins=pool_size, size=height, padding=0)
    weight_x = _weights(ends[..., 0], ends[..., 2], bins=pool_size, size=width, padding=padding)
    pooled = maps.new_empty(images, boxes.shape[1], pool_size**2, channels)
    row_bytes = max(1, pool_size**2 * cells.shape[1] * cells.element_size())
    chunk = max(1, _WEIGHT_BYTES // row_bytes)
    for image in range(images):
        for start in range(0, boxes.shape[1], chunk):
            rois = slice(start, start + chunk)
            weight = _outer(weight_y[image, rois], weight_x[image, rois], maps.dtype)
            torch.mm(weight, cells[image], out=pooled[image, rois].flatten(0, 1))
    return pooled.flatten(2).flatten(0, 1)


def _outer(weight_y: Tensor, weight_x: Tensor, dtype: torch.dtype) -> Tensor:
    """Multiply weights of rows (P, n, h) and columns (P, n, w) to weights of all cells (P * n * n, h * w)."""
    rois, bins, height = weight_y.shape
    weight = weight_y.new_empty(rois, bins, bins, height, weight_x.shape[2], dtype=dtype)
    # Rounds the product of float32 weights once, without an intermediate result.
    torch.mul(weight_y[:, :, None, :, None], weight_x[:, None, :, None, :], out=weight)
    return weight.flatten(3).flatten(0, 2)


def _weights(low: Tensor, high: Tensor, *, bins: int, size: int, padding: int) -> Tensor:
    """Compute the weights (..., bins, size + padding) of all cells along one axis in each bin of each RoI.

    A sample at position p gives the cells beside it the weights 1 - |p - cell|. A sample outside [-1, size]
    counts as zero; a sample within that range but beyond the map takes the value of the map's border.

    Args:
        low, high: (...), start and end of each RoI along the axis, in cells.
        bins: Number of bins.
        size: Number of cells.
        padding: Number of further cells, whose weights are zero.
    """
    low, high = low.nan_to_num(), high.nan_to_num()  # NaN of a diverged network must not become all weights
    step = (high - low).clamp(min=1.0) / bins
    samples = step.ceil()[..., None, None, None]
    start = (low[..., None] + step[..., None] * torch.arange(bins, device=low.device))[..., None, None]
    distance = step[..., None, None, None] / samples
    cell = torch.arange(size + padding, device=low.device, dtype=low.dtype)[:, None]
    # One before the first sample that is at most one cell away, in case of rounding
    first = (((cell - 1 - start) / distance - 0.5).ceil() - 1).clamp(min=0)
    sample = first + torch.arange(_NEAR_SAMPLES, device=low.device)
    position = start + distance * (sample + 0.5)
    counts = (sample < samples) & (position >= -1) & (position <= size)
    part = (1 - (position.clamp(0, size - 1) - cell).abs()).clamp(min=0)
    return (part * counts).sum(-1) / samples[..., 0]


def _pool_alike(maps: Tensor, boxes: list[Tensor], *, pool_size: int, stride: int) -> Tensor:
    return pool_dense(maps, torch.stack(boxes), pool_size=pool_size, stride=stride)


DENSE_PRODUCTS = MapKernels(pool=_pool_alike, warp=warp, bins_first=True, channels_last=False)
"""Kernels for GPUs in half precision, for images that have equally many RoIs."""
