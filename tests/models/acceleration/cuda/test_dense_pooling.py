"""RoIAlign as a matrix product, compared with torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from megavid.models.acceleration.cuda import dense_pooling
from megavid.models.acceleration.cuda.dense_pooling import pool_dense
from megavid.models.layers.pooling import pool_rois
from tests.agreement import assert_close

STRIDE = 16
HEIGHT, WIDTH = 9, 13

LARGEST = torch.tensor([[150.0, 100], [120, 90]])
"""Largest x and y of a first corner, and largest width and height."""

DEGENERATE = torch.tensor(
    [
        [0.0, 0, 16 * WIDTH, 16 * HEIGHT],  # the whole map
        [-60, -40, 300, 260],  # beyond all borders
        [-3000, -500, 5000, 900],  # many times the map
        [500, 300, 600, 400],  # off the map
        [-300, -200, -100, -50],
        [35, 41, 36, 42],  # a pixel
        [35, 41, 35, 41],
        [100, 90, 20, 30],  # inverted
        [-15, -15, 1, 1],  # samples exactly one cell beyond the border, which still count
        [-16, -16, 17, 17],
        [16 * WIDTH - 8, 16 * HEIGHT - 8, 16 * WIDTH + 8, 16 * HEIGHT + 8],
    ]
)


def boxes_of(device: torch.device) -> Tensor:
    random = torch.Generator().manual_seed(0)
    first, size = (torch.rand(2, 2, 30, 2, generator=random) * LARGEST[:, None, None]).to(device)
    boxes = torch.cat((first, first + size), dim=2)
    return torch.cat((boxes, DEGENERATE.to(device).expand(2, -1, -1)), dim=1)


def pooled_by_torchvision(maps: Tensor, boxes: Tensor, bins: int) -> Tensor:
    pooled = pool_rois(maps, list(boxes), pool_size=bins, stride=STRIDE)
    by_channel: Tensor = pooled.unflatten(1, (-1, bins**2))
    return by_channel.transpose(1, 2).flatten(1)


@pytest.mark.parametrize("bins", [1, 3, 7])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_torchvision(bins: int, layout: torch.memory_format, device: torch.device) -> None:
    maps = torch.randn(2, 5, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)).to(device)
    boxes = boxes_of(device)
    pooled = pool_dense(maps.to(memory_format=layout), boxes, pool_size=bins, stride=STRIDE)
    assert_close(pooled, pooled_by_torchvision(maps, boxes, bins), atol=3e-5)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_half_precision_rounds_weights_and_result(
    dtype: torch.dtype, precision: float, device: torch.device
) -> None:
    maps = torch.rand(2, 5, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    boxes = boxes_of(device)
    pooled = pool_dense(maps, boxes, pool_size=7, stride=STRIDE)
    assert pooled.dtype == dtype
    torch.testing.assert_close(
        pooled.float(), pooled_by_torchvision(maps, boxes, 7), rtol=2 * precision, atol=precision / 8
    )


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    maps, boxes = torch.randn(2, 5, HEIGHT, WIDTH, device=device), boxes_of(device)
    whole = pool_dense(maps, boxes, pool_size=3, stride=STRIDE)
    monkeypatch.setattr(dense_pooling, "_WEIGHT_BYTES", 20_000)
    assert_close(pool_dense(maps, boxes, pool_size=3, stride=STRIDE), whole)


def test_no_value_is_read_and_a_box_that_is_nan_disturbs_no_other(device: torch.device) -> None:
    maps, boxes = torch.randn(2, 5, HEIGHT, WIDTH, device=device), boxes_of(device)
    whole = pool_dense(maps, boxes, pool_size=3, stride=STRIDE)
    boxes[0, 1] = torch.nan
    pooled = pool_dense(maps, boxes, pool_size=3, stride=STRIDE)
    assert torch.equal(pooled[2:], whole[2:])
    with FakeTensorMode():
        maps, boxes = (torch.empty(shape, device=device) for shape in ((2, 5, 9, 13), (2, 4, 4)))
        fake = pool_dense(maps, boxes, pool_size=3, stride=STRIDE)
    assert fake.shape == (8, 45)


def test_an_infinite_cell_spoils_no_other_roi(device: torch.device) -> None:
    maps = torch.rand(1, 2, 9, 12, device=device)
    boxes = torch.tensor([[[16.0, 16, 48, 48], [112, 80, 176, 128]]], device=device)  # cells 1 to 3, 7 to 11
    expected = pool_dense(maps, boxes, pool_size=2, stride=16)
    maps[0, :, 8, 11] = math.inf
    pooled = pool_dense(maps, boxes, pool_size=2, stride=16)
    assert torch.equal(pooled[0], expected[0])
