"""3x3 convolutions by Winograd's algorithm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from megavid.models.acceleration.cpu.winograd import WinogradConv2d


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 8), (9, 6)])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_winograd_equals_the_original_convolution(size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 10, 3, padding=1, bias=bias)
    fast = WinogradConv2d(conv)
    for batch in (1, 2):
        maps = torch.randn(batch, 24, *size)
        torch.testing.assert_close(fast(maps), conv(maps), atol=2e-5, rtol=0)


@torch.no_grad()
def test_winograd_in_channels_last_with_and_without_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    conv, maps = nn.Conv2d(24, 10, 3, padding=1), torch.randn(2, 24, 9, 6)
    for available in (True, False):
        monkeypatch.setattr(
            "megavid.models.acceleration.cpu.packed.has_packing", lambda available=available: available
        )
        fast = WinogradConv2d(conv).to(memory_format=torch.channels_last)
        result = fast(maps.to(memory_format=torch.channels_last))
        torch.testing.assert_close(result, conv(maps), atol=2e-5, rtol=0)


@torch.no_grad()
def test_winograd_of_a_map_with_one_nonzero_cell_by_hand() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)
    conv.weight[:] = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    conv.bias[:] = 0.5  # type: ignore[index]
    maps = torch.zeros(1, 1, 5, 5)
    maps[0, 0, 4, 0] = 1  # lower left corner; it and the cells around it get the weights 5, 8, 7 and 4
    expected = torch.full((5, 5), 0.5)
    expected[3, 0], expected[3, 1], expected[4, 0], expected[4, 1] = 8.5, 7.5, 5.5, 4.5
    torch.testing.assert_close(WinogradConv2d(conv)(maps)[0, 0], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_winograd_computes_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 3, padding=1)
    fast, maps = WinogradConv2d(conv), torch.randn(1, 64, 8, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = fast(maps)
    torch.testing.assert_close(result, conv(maps.float()), atol=2e-5, rtol=0)
