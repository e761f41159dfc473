"""Folding batch norms into the convolutions before them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from megavid.models.acceleration.fold import fold_norms, norms_in_place
from megavid.models.layers.resnet import ResNetTrunk, group_norm
from tests.agreement import assert_close


def test_folded_norm_by_hand(device: torch.device) -> None:
    # ((2 x - 1) / 2) * 6 + 10 = 6 x + 7
    conv, norm = nn.Conv2d(1, 1, 1, bias=False), FrozenBatchNorm2d(1, eps=0.0)
    conv.weight.data.fill_(2.0)
    for name, value in {"running_mean": 1.0, "running_var": 4.0, "weight": 6.0, "bias": 10.0}.items():
        getattr(norm, name).fill_(value)
    model = nn.Sequential(conv, norm).to(device)
    fold_norms(model)
    assert isinstance(model[1], nn.Identity)
    assert model(torch.tensor([[[[5.0]]]], device=device)).item() == 37
    assert [p.item() for p in model.parameters()] == [6, 7]


def trunk_of(depth: int, device: torch.device) -> ResNetTrunk:
    """Return a trunk whose norms are not the identity."""
    torch.manual_seed(0)
    trunk = ResNetTrunk(depth=depth, width=8).to(device)
    for norm in trunk.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.running_var.uniform_(0.5, 2)
            norm.running_mean.normal_()
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
    return trunk.requires_grad_(False)


@pytest.mark.parametrize("depth", [18, 50])
def test_folding_changes_only_rounding(depth: int, device: torch.device) -> None:
    trunk, images = trunk_of(depth, device=device), torch.randn(1, 3, 40, 56).to(device)
    expected = trunk(images)
    fold_norms(trunk)
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in trunk.modules())
    atol = 1e-4 * float(expected.abs().max())
    assert_close(trunk(images), expected, rtol=1e-4, atol=atol)
    assert not torch.equal(trunk(images), expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_in_place_norms_are_bit_identical(depth: int, device: torch.device) -> None:
    trunk, images = trunk_of(depth, device=device), torch.randn(1, 3, 40, 56).to(device)
    before, expected = images.clone(), trunk(images)
    norms_in_place(trunk)
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in trunk.modules())
    assert torch.equal(trunk(images), expected)
    assert torch.equal(images, before)


def test_other_norms_are_not_folded() -> None:
    trunk = ResNetTrunk(depth=18, width=8, norm=group_norm)
    before = [type(module) for module in trunk.modules()]
    fold_norms(trunk)
    assert [type(module) for module in trunk.modules()] == before
