"""Batch norms with fixed statistics as part of the convolutions before them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d


@torch.no_grad()
def fold_norms(model: nn.Module) -> None:
    """Put every frozen batch norm into the convolution that its module holds right before it, in place.

    A norm scales and shifts each channel, and so do a convolution's weight and bias; computed in float64.
    """
    for parent in list(model.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                setattr(parent, conv_name, _folded(conv, norm))
                setattr(parent, norm_name, nn.Identity())


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> nn.Conv2d:
    assert conv.bias is None
    variance, mean = norm.running_var.double(), norm.running_mean.double()
    scale = norm.weight.double() / (variance + norm.eps).sqrt()
    weight = conv.weight.double() * scale[:, None, None, None]
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    shift = norm.bias.double() - mean * scale
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
    return conv
