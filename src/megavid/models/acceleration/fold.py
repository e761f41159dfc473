"""Batch norms with fixed statistics, made cheaper for inference."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d


@torch.no_grad()
def fold_norms(model: nn.Module) -> None:
    """Put every frozen batch norm into the convolution that its module holds right before it, in place.

    A norm scales and shifts each channel, and so do a convolution's weight and bias; computed in float64.
    What comes out is rounded differently.
    """
    for parent in list(model.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                setattr(parent, conv_name, _folded(conv, norm))
                setattr(parent, norm_name, nn.Identity())


@torch.no_grad()
def norms_in_place(model: nn.Module) -> None:
    """Have every frozen batch norm change what it is given, in place, to the same numbers to the last bit."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, FrozenBatchNorm2d):
                setattr(parent, name, ScaleAndShift(norm))


class ScaleAndShift(nn.Module):
    """What a frozen batch norm does, in place: no memory has to be found for what comes out.

    Args:
        norm: Whose statistics and weights it takes.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: FrozenBatchNorm2d) -> None:
        super().__init__()
        weight, bias, variance, mean = (
            x.reshape(1, -1, 1, 1) for x in (norm.weight, norm.bias, norm.running_var, norm.running_mean)
        )
        scale = weight * (variance + norm.eps).rsqrt()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", bias - mean * scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), changed."""
        return x.mul_(self.scale).add_(self.shift)


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> nn.Conv2d:
    assert conv.bias is None
    variance, mean = norm.running_var.double(), norm.running_mean.double()
    scale = norm.weight.double() / (variance + norm.eps).sqrt()
    weight = conv.weight.double() * scale[:, None, None, None]
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    shift = norm.bias.double() - mean * scale
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
    return conv
