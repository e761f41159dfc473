"""RoI pooling: both implementations, compared with values computed by hand and with each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from megavid.models.acceleration.cpu.cells import pool_cells
from megavid.models.layers.pooling import pool_rois


def channels_first(pooled: Tensor, channels: int) -> Tensor:
    """Convert the layout of `pool_cells` to that of `pool_rois`."""
    by_bin: Tensor = pooled.unflatten(1, (-1, channels))
    return by_bin.transpose(1, 2).flatten(1)


def test_pooled_ramp_has_the_values_at_bin_centers() -> None:
    # The value of each cell of the map is the number of its column. The inclusive RoI 16 .. 127 spans columns
    # 1 to 7.94 of the map, in 7 bins of 111 / 16 / 7 columns. A bin's average is the value at its center.
    ramp = torch.arange(10.0).expand(1, 1, 10, 10)
    bin_width = 111 / 16 / 7
    expected = torch.tensor([1 + (i + 0.5) * bin_width for i in range(7)]).repeat(7)
    for pool in (pool_rois, pool_cells):
        pooled = pool(ramp, [torch.tensor([[16.0, 16.0, 128.0, 128.0]])], pool_size=7, stride=16)
        torch.testing.assert_close(pooled, expected[None], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pool", [pool_rois, pool_cells])
def test_pooling_no_rois_gives_no_rows(pool: object) -> None:
    assert callable(pool)
    assert pool(torch.zeros(1, 4, 5, 5), [torch.zeros(0, 4)], pool_size=3, stride=16).shape == (0, 36)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (5, 2), (9, 13)])
def test_pool_rois_and_pool_cells_agree_on_any_roi(height: int, width: int) -> None:
    # RoIs of two images: inside, across the border, outside, empty, and exactly on the edges of cells.
    torch.manual_seed(0)
    start = (torch.rand(60, 2) - 0.3) * 16 * max(height, width)
    boxes = torch.cat((start, start + torch.rand(60, 2) ** 3 * 300 - 3), dim=1)
    boxes[::3] = (boxes[::3] / 16).round() * 16
    maps = torch.randn(2, 3, height, width)
    each = [boxes[:25], boxes[25:]]
    for pool_size in (1, 2, 7):
        by_points = pool_rois(maps, each, pool_size=pool_size, stride=16)
        by_cells = channels_first(pool_cells(maps, each, pool_size=pool_size, stride=16), 3)
        torch.testing.assert_close(by_cells, by_points, atol=2e-5, rtol=0)


def test_half_precision_keeps_coordinates_exact() -> None:
    ramp = torch.arange(256.0).expand(1, 1, 4, 256).bfloat16()
    pooled = pool_cells(ramp, [torch.tensor([[3216.0, 0.0, 3217.0, 1.0]])], pool_size=1, stride=16)
    assert pooled.dtype == torch.bfloat16
    # An RoI of one pixel is enlarged to one cell, here from 201 to 202.
    assert pooled.item() == pytest.approx(201.5, abs=0.5)
