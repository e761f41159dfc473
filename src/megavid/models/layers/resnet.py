"""Residual networks (He et al., CVPR 2016) in two parts: a trunk of stride 16 and a dilated fifth stage.

As in Detectron, the stride of a bottleneck stage is that of its first 1x1 convolution (or, as in torchvision,
that of its first 3x3 convolution), and batch norm is frozen and has no epsilon.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d

from megavid.models.layers.activation_checkpointing import run

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""Number of blocks in the stages conv2 .. conv5, by depth."""

FIRST_BOTTLENECK_DEPTH = 50
"""Depth from which networks consist of bottlenecks."""

Norm = Callable[[int], nn.Module]
"""Function that makes a normalization layer for a number of channels."""


class FrozenBatchNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """Batch norm with fixed statistics and weights, which computes in float32.

    Training in half precision applies it by one operation, which rounds once, to the dtype of the map. The
    seven operations of the base class would return float32, and so would the following layers up to the next
    convolution.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if x.dtype == torch.float32 or not self.training:
            return cast(Tensor, super().forward(x))
        # Without the check of `F.batch_norm`, which refuses an epsilon of 0 in PyTorch 2.11.
        mean, variance = self.running_mean, self.running_var
        return torch.batch_norm(x, self.weight, self.bias, mean, variance, False, 0.0, self.eps, False)


def frozen_batch_norm(channels: int) -> nn.Module:
    """Make a batch norm with fixed statistics and no epsilon: scale = weight / sqrt(variance)."""
    return FrozenBatchNorm(channels, eps=0.0)


def group_norm(channels: int) -> nn.Module:
    """Make a group norm (Wu and He, ECCV 2018) of up to 32 groups with at least 4 channels each."""
    most = max(min(32, channels // 4), 1)
    return nn.GroupNorm(next(n for n in range(most, 0, -1) if channels % n == 0), channels)


NORMS: dict[str, Norm] = {"frozen_batch": frozen_batch_norm, "group": group_norm}
"""Normalization layers, by their names in configurations."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18 and -34)."""

    expansion = 1

    def __init__(self, *, in_channels: int, width: int, stride: int, dilation: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = norm(width)
        self.downsample = _shortcut(in_channels, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu_(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return _relu_of_sum(x, shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the first of which has the stride, and a shortcut (ResNet-50, -101)."""

    expansion = 4
    stride_in_1x1 = True

    def __init__(self, *, in_channels: int, width: int, stride: int, dilation: int, norm: Norm) -> None:
        super().__init__()
        out_channels = width * self.expansion
        first, second = (stride, 1) if self.stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, dilation, dilation, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = norm(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return _relu_of_sum(x, shortcut)


class BottleneckStridedIn3x3(Bottleneck):
    """A bottleneck whose 3x3 convolution has the stride, as torchvision trains ResNet-50 and -101."""

    stride_in_1x1 = False


def _relu_of_sum(x: Tensor, shortcut: Tensor) -> Tensor:
    """Add the shortcut and apply ReLU, in the more precise dtype of the two; `x` may be overwritten."""
    return F.relu_(x.to(torch.promote_types(x.dtype, shortcut.dtype)).add_(shortcut))


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: Norm) -> nn.Sequential | None:
    if in_channels == out_channels and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), norm(out_channels))


class Stem(nn.Module):
    """7x7 convolution of stride 2 and 3x3 max pooling of stride 2: conv1 and pool1."""

    def __init__(self, *, width: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = norm(width)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width, H / 4, W / 4)."""
        return F.max_pool2d(F.relu_(self.bn1(self.conv1(images))), 3, 2, 1)


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    blocks: int,
    *,
    in_channels: int,
    width: int,
    stride: int,
    dilation: int,
    norm: Norm,
) -> nn.Sequential:
    out_channels = width * block.expansion
    first = block(in_channels=in_channels, width=width, stride=stride, dilation=dilation, norm=norm)
    rest = [
        block(in_channels=out_channels, width=width, stride=1, dilation=dilation, norm=norm)
        for _ in range(blocks - 1)
    ]
    return nn.Sequential(first, *rest)


class ResNetTrunk(nn.Module):
    """conv1 to conv4, from images to a map of stride 16.

    Args:
        depth: 18, 34, 50 or 101.
        width: Number of channels of conv1 and of conv2's 3x3 convolutions; 64 as published.
        norm: Normalization layer; `frozen_batch_norm` as published.
        stride_in_1x1: Whether bottlenecks have the stride in the 1x1 convolution, as published, instead of
            the 3x3 convolution.

    Attributes:
        activation_checkpointing: Whether a training step keeps only the maps between stages and computes the
            activations inside them again in the backward pass, which saves memory but takes a third more
            time.
    """

    def __init__(
        self, *, depth: int, width: int, norm: Norm = frozen_batch_norm, stride_in_1x1: bool = True
    ) -> None:
        super().__init__()
        block = _block(depth, stride_in_1x1=stride_in_1x1)
        self.activation_checkpointing = False
        self.stem = Stem(width=width, norm=norm)
        channels = width
        for stage, blocks in enumerate(DEPTHS[depth][:3]):
            stage_width = width * 2**stage
            stride = 1 if stage == 0 else 2
            layer = _stage(
                block,
                blocks,
                in_channels=channels,
                width=stage_width,
                stride=stride,
                dilation=1,
                norm=norm,
            )
            self.add_module(f"layer{stage + 1}", layer)
            channels = stage_width * block.expansion
        self.out_channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out_channels, ceil(H / 16), ceil(W / 16))."""
        x = self.stem(images)
        for stage in (1, 2, 3):
            x = run(self.get_submodule(f"layer{stage}"), x, checkpointing=self.activation_checkpointing)
        return cast(Tensor, x)

    def first_stages(self, count: int) -> list[nn.Module]:
        """Return the first `count` of conv1, conv2, conv3 and conv4."""
        return [self.stem, *(self.get_submodule(f"layer{stage}") for stage in (1, 2, 3))][:count]

    def leading_layers(self) -> list[nn.Module]:
        """Return conv1, conv2, conv3 and the first half of the blocks of conv4."""
        conv4 = list(self.get_submodule("layer3").children())
        return [*self.first_stages(3), *conv4[: len(conv4) // 2]]


class DilatedStage5(nn.Module):
    """conv5 at the trunk's resolution: stride 1, every 3x3 convolution dilated by 2."""

    def __init__(self, *, depth: int, width: int, norm: Norm = frozen_batch_norm) -> None:
        super().__init__()
        self.activation_checkpointing = False
        block = _block(depth)
        in_channels = width * 4 * block.expansion
        self.layer4 = _stage(
            block,
            DEPTHS[depth][3],
            in_channels=in_channels,
            width=width * 8,
            stride=1,
            dilation=2,
            norm=norm,
        )
        self.out_channels = width * 8 * block.expansion

    def forward(self, x: Tensor) -> Tensor:
        """(B, C4, H, W) -> (B, out_channels, H, W)."""
        return run(self.layer4, x, checkpointing=self.activation_checkpointing)


def _block(depth: int, *, stride_in_1x1: bool = True) -> type[BasicBlock] | type[Bottleneck]:
    if depth < FIRST_BOTTLENECK_DEPTH:
        return BasicBlock
    return Bottleneck if stride_in_1x1 else BottleneckStridedIn3x3
