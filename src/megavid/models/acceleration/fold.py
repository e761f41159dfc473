"""Make frozen batch norms cheaper for inference."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d


@torch.no_grad()
def fold_norms(model: nn.Module) -> None:
    """Fold every frozen batch norm into the convolution right before it in the same module, in place.

    A frozen batch norm scales and shifts each channel, which the weight and bias of a convolution can also
    do. The new weights are computed in float64. The folded layers round differently than the original ones.
    """
    for parent in list(model.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                setattr(parent, conv_name, _folded(conv, norm))
                setattr(parent, norm_name, nn.Identity())


@torch.no_grad()
def norms_in_place(model: nn.Module) -> None:
    """Replace every frozen batch norm with a module that computes the same in place, bit for bit."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, FrozenBatchNorm2d):
                setattr(parent, name, ScaleAndShift(norm))


class ScaleAndShift(nn.Module):
    """In-place equivalent of a frozen batch norm, which saves allocating its result.

    Args:
        norm: Frozen batch norm to replace.
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
        """Scale and shift (B, C, H, W) in place."""
        return x.mul_(self.scale).add_(self.shift)


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> nn.Conv2d:
    assert conv.bias is None
    # Computed on the CPU, since not every device has float64.
    original, norm_weight, norm_bias, mean, variance = (
        x.detach().cpu().double()
        for x in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = norm_weight / (variance + norm.eps).sqrt()
    weight, bias = original * scale[:, None, None, None], norm_bias - mean * scale
    conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=False)
    conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
    return conv
