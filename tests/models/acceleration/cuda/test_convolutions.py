"""Residual blocks with fused convolutions compute what they did before."""

from __future__ import annotations

import pytest
import torch

from megavid.models.acceleration.cuda.convolutions import fuse_blocks
from megavid.models.acceleration.fold import fold_norms
from megavid.models.layers.resnet import DilatedStage5, ResNetTrunk, group_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("depth", [18, 50])
def test_fused_blocks_agree_with_the_original_ones(
    depth: int, dtype: torch.dtype, device: torch.device
) -> None:
    torch.manual_seed(0)
    for network, channels in (
        (ResNetTrunk(depth=depth, width=16), 3),
        (DilatedStage5(depth=depth, width=16), 64 if depth == 18 else 256),
    ):
        fold_norms(network)
        with torch.no_grad():
            network.to(device, dtype).to(memory_format=torch.channels_last)
            maps = torch.randn(2, channels, 32, 48, device=device, dtype=dtype)
            expected = network(maps)
            fuse_blocks(network)
            fused = network(maps)
        spread = expected.float().std().item()
        torch.testing.assert_close(fused, expected, rtol=0.01, atol=0.01 * spread)


def test_blocks_with_norms_stay_as_they_are() -> None:
    network = DilatedStage5(depth=18, width=8, norm=group_norm)
    fuse_blocks(network)
    assert not any("forward" in vars(module) for module in network.modules())
