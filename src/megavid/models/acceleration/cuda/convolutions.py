"""Convolutions of residual blocks together with the sum and ReLU that follow, by one call of cuDNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.models.layers.resnet import BasicBlock, Bottleneck


def fuse_blocks(module: nn.Module) -> None:
    """Make the residual blocks of a module, whose norms are folded, add and rectify within convolutions.

    Blocks whose norms are not folded stay as they are.
    """
    for block in module.modules():
        if isinstance(block, BasicBlock | Bottleneck) and _is_folded(block):
            _fuse(block)


def _is_folded(block: nn.Module) -> bool:
    return all(conv.bias is not None for conv in block.children() if isinstance(conv, nn.Conv2d))


def _fuse(block: BasicBlock | Bottleneck) -> None:
    *first, last = [conv for conv in block.children() if isinstance(conv, nn.Conv2d)]

    def forward(x: Tensor) -> Tensor:
        x = x.to(last.weight.dtype)
        shortcut = x if block.downsample is None else block.downsample(x)
        for conv in first:
            x = conv_relu(x, conv)
        return conv_add_relu(x, conv=last, shortcut=shortcut)

    block.forward = forward  # type: ignore[method-assign]


def conv_relu(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Apply a convolution (B, C, H, W) -> (B, K, h, w) and ReLU."""
    if not x.is_cuda:
        return F.relu_(conv(x))
    result: Tensor = torch.ops.aten.cudnn_convolution_relu(
        x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    return result


def conv_add_relu(x: Tensor, *, conv: nn.Conv2d, shortcut: Tensor) -> Tensor:
    """Apply a convolution (B, C, H, W) -> (B, K, h, w), add a map of the shape of the result, apply ReLU."""
    if not x.is_cuda:
        return F.relu_(conv(x) + shortcut)
    result: Tensor = torch.ops.aten.cudnn_convolution_add_relu(
        x, conv.weight, shortcut, 1.0, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    return result
