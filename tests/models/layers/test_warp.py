"""Warping, compared with values computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from megavid.models.acceleration.cpu.cells import warp_cells
from megavid.models.layers.warp import _sample, sampling_grid, warp
from tests.agreement import assert_close

BOTH = pytest.mark.parametrize("move", [warp, warp_cells])
Warp = Callable[..., torch.Tensor]

ROW = torch.tensor([10.0, 20.0, 40.0, 80.0, 160.0])


def flow_of(x: float, y: float, device: torch.device, *, height: int, width: int) -> torch.Tensor:
    return torch.tensor([x, y], device=device).reshape(1, 2, 1, 1).expand(1, 2, height, width)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (0.0, [10, 20, 40, 80, 160]),
        (1.0, [20, 40, 80, 160, 160]),  # beyond the border, border values are repeated
        (-2.0, [10, 10, 10, 20, 40]),
        (0.25, [12.5, 25, 50, 100, 160]),
    ],
)
@BOTH
def test_uniform_shifts_with_aligned_corners(
    move: Warp, shift: float, expected: list[float], device: torch.device
) -> None:
    features = ROW.to(device).reshape(1, 1, 1, 5).expand(1, 2, 3, 5)
    moved = move(features, flow_of(shift, 0, height=3, width=5, device=device), align_corners=True)
    assert_close(moved, torch.tensor(expected, dtype=torch.float32, device=device).expand(1, 2, 3, 5))
    turned = move(
        features.transpose(2, 3), flow_of(0, shift, height=5, width=3, device=device), align_corners=True
    )
    assert_close(turned.transpose(2, 3), moved)


@BOTH
def test_without_aligned_corners_zero_flow_still_interpolates(move: Warp, device: torch.device) -> None:
    # Of five cells, cell x is sampled at x * 5 / 4 - 1/2: -0.5, 0.75, 2, 3.25, 4.5.
    moved = move(
        ROW.to(device).reshape(1, 1, 1, 5),
        flow_of(0, 0, height=1, width=5, device=device),
        align_corners=False,
    )
    assert_close(moved.flatten(), torch.tensor([10, 17.5, 40, 100, 160], device=device))


@BOTH
def test_each_cell_follows_its_own_flow(move: Warp, device: torch.device) -> None:
    features = torch.arange(6.0, device=device).reshape(1, 1, 2, 3)
    flow = torch.zeros(1, 2, 2, 3, device=device)
    flow[0, :, 0, 0] = torch.tensor([2.0, 1.0], device=device)
    flow[0, :, 1, 2] = torch.tensor([-1.0, -1.0], device=device)
    expected = torch.tensor([[5.0, 1, 2], [3, 4, 1]], device=device)
    assert_close(move(features, flow, align_corners=True)[0, 0], expected)


@pytest.mark.parametrize("align_corners", [True, False])
@BOTH
def test_a_map_of_one_cell_is_unchanged(move: Warp, align_corners: bool, device: torch.device) -> None:
    features = torch.tensor([3.0, 4.0], device=device).reshape(1, 2, 1, 1)
    moved = move(features, flow_of(5, -5, height=1, width=1, device=device), align_corners=align_corners)
    assert torch.equal(moved, features)


@BOTH
def test_half_precision_keeps_coordinates_exact(move: Warp, device: torch.device) -> None:
    features = torch.arange(300.0, device=device).reshape(1, 1, 1, 300).bfloat16()
    moved = move(features, flow_of(1, 0, height=1, width=300, device=device).bfloat16(), align_corners=True)
    assert moved.dtype == torch.bfloat16
    assert_close(moved[..., :-1], features[..., 1:], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("align_corners", [True, False])
def test_warp_and_warp_cells_agree_on_any_flow(align_corners: bool, device: torch.device) -> None:
    torch.manual_seed(0)
    features, flow = torch.randn(2, 5, 6, 9).to(device), 8 * torch.randn(2, 2, 6, 9).to(device)
    ways = [move(features, flow, align_corners=align_corners) for move in (warp, warp_cells)]
    assert_close(ways[0], ways[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("align_corners", [True, False])
def test_groups_of_channels_are_sampled_like_the_whole_map(align_corners: bool, device: torch.device) -> None:
    torch.manual_seed(0)
    features, flow = torch.randn(3, 8, 6, 9).to(device), 4 * torch.randn(3, 2, 6, 9).to(device)
    grid = sampling_grid(flow)
    whole, in_groups = (_sample(features, grid, groups=n, align_corners=align_corners) for n in (1, 4))
    assert torch.equal(in_groups, whole)
