"""Residual networks: shapes, strides and the frozen norm."""

from __future__ import annotations

import pytest
import torch

from megavid.models.layers.resnet import DEPTHS, Bottleneck, DilatedStage5, ResNetTrunk, frozen_batch_norm


@pytest.mark.parametrize("depth", DEPTHS)
def test_maps_have_stride_16(depth: int, device: torch.device) -> None:
    trunk = ResNetTrunk(depth=depth, width=8).to(device)
    stage5 = DilatedStage5(depth=depth, width=8).to(device)
    c4 = trunk(torch.zeros(2, 3, 33, 50, device=device))
    c5 = stage5(c4)
    expansion = 1 if depth < 50 else 4
    assert c4.shape == (2, 32 * expansion, 3, 4)
    assert c5.shape == (2, 64 * expansion, 3, 4)
    assert (trunk.out_channels, stage5.out_channels) == (c4.shape[1], c5.shape[1])


def test_stride_of_bottlenecks_and_dilation_of_stage5() -> None:
    block = ResNetTrunk(depth=50, width=8).get_submodule("layer2.0")
    assert isinstance(block, Bottleneck)
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    block = ResNetTrunk(depth=50, width=8, stride_in_1x1=False).get_submodule("layer2.0")
    assert isinstance(block, Bottleneck)
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))
    stage5 = DilatedStage5(depth=50, width=8)
    assert {block.conv2.dilation for block in stage5.layer4} == {(2, 2)}  # type: ignore[union-attr]


def test_leading_layers() -> None:
    for depth, blocks in ((18, 1), (50, 3), (101, 11)):
        trunk = ResNetTrunk(depth=depth, width=8)
        layer3 = list(trunk.get_submodule("layer3").children())
        assert trunk.leading_layers() == [trunk.stem, trunk.layer1, trunk.layer2, *layer3[:blocks]]


def test_frozen_batch_norm_has_no_epsilon(device: torch.device) -> None:
    norm = frozen_batch_norm(1).to(device)
    values = {"weight": 3.0, "bias": 1.0, "running_mean": 2.0, "running_var": 1e-4}
    norm.load_state_dict({name: torch.tensor([value], device=device) for name, value in values.items()})
    # 3 * (4 - 2) / 0.01 + 1
    assert norm(torch.full((1, 1, 1, 1), 4.0, device=device)).item() == pytest.approx(601, rel=1e-5)
    assert not list(norm.parameters())


def test_frozen_batch_norm_rounds_once_in_half_precision(device: torch.device) -> None:
    norm = frozen_batch_norm(1).to(device)
    values = {"weight": 3.0, "bias": 0.125, "running_mean": -1.0, "running_var": 4.0}
    norm.load_state_dict({name: torch.tensor([value], device=device) for name, value in values.items()})
    x = torch.tensor([1.0, 84.0], dtype=torch.bfloat16, device=device)
    x.requires_grad_()
    y = norm(x.view(1, 1, 1, 2)).flatten()
    # 1.5 (1 + 1) + 0.125 and 1.5 (84 + 1) + 0.125 = 127.625, between 127.5 and 128 in bfloat16
    assert (y.dtype, y.tolist()) == (torch.bfloat16, [3.125, 127.5])
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.5, 1.5]
    # At inference, where the residual sums of some layers stay in float32, the result is not rounded.
    assert norm.eval()(x.view(1, 1, 1, 2)).flatten().tolist() == [3.125, 127.625]
