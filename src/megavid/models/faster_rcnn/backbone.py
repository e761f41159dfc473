"""Backbones compute a map of stride 16 for the RPN (C4) and a deeper map of the same size for RoIs (C5)."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.config import Config
from megavid.core.profiling import profile_range
from megavid.models.layers.resnet import NORMS, DilatedStage5, ResNetTrunk
from megavid.models.layers.timm_parts import TimmStage5, TimmTrunk, timm_parts

MOST_CHANNELS = 1 << 14
"""Upper limit on the channels of a map or of RoI features: eight times as many as ResNet-101 has."""


class BackboneConfig(Config):
    """A ResNet in the C4 arrangement with a dilated conv5, or a timm model in its place.

    Attributes:
        depth: 18, 34, 50 or 101.
        width: Channels of the first convolution; 64 as published.
        reduce_channels: Channels that a 1x1 convolution reduces conv5 to (256 in the original's R-50 models),
            or null to pool from conv5 itself (R-101).
        norm: "frozen_batch" as published, for weights that were trained with batch norm; "group" to train
            from scratch.
        stride_in_1x1: Whether the stride of a stage of ResNet-50 and -101 is in the 1x1 convolution, as in
            MSRA's networks and as published, or in the 3x3 convolution, as in torchvision's networks.
        timm: Name of a model in the library timm, such as "convnext_tiny", that takes the place of the
            ResNet; the keys above, except `reduce_channels`, are ignored then. The model has to be a
            sequence of stages with maps of stride 16 and 32.
    """

    depth: Literal[18, 34, 50, 101]
    width: int = Field(ge=8, le=1024)
    reduce_channels: int | None = Field(ge=1, le=MOST_CHANNELS)
    norm: Literal["frozen_batch", "group"] = "frozen_batch"
    stride_in_1x1: bool = True
    timm: str | None = None

    @property
    def name(self) -> str:
        """Name for reports: ResNet-50, or the name of the timm model."""
        if self.timm is not None:
            return self.timm
        return f"ResNet-{self.depth}" if self.width == 64 else f"ResNet-{self.depth} of width {self.width}"


class Backbone(nn.Module):
    """The trunk (conv1 .. conv4), conv5 and, optionally, a 1x1 convolution that reduces the channels.

    Attributes:
        stride: Input pixels per cell of either map.
        c4_channels: C4, number of channels of the trunk's map.
        c5_channels: C5, channels of the map that RoIs are pooled from.
    """

    stride = 16

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.trunk: ResNetTrunk | TimmTrunk
        self.stage5: DilatedStage5 | TimmStage5
        if config.timm is None:
            norm = NORMS[config.norm]
            self.trunk = ResNetTrunk(
                depth=config.depth, width=config.width, norm=norm, stride_in_1x1=config.stride_in_1x1
            )
            self.stage5 = DilatedStage5(depth=config.depth, width=config.width, norm=norm)
        else:
            self.trunk, self.stage5 = timm_parts(config.timm)
        channels = self.stage5.out_channels
        self.reduce = nn.Conv2d(channels, config.reduce_channels, 1) if config.reduce_channels else None
        self.c4_channels = self.trunk.out_channels
        self.c5_channels = config.reduce_channels or channels

    def c4(self, images: Tensor) -> Tensor:
        """Compute the trunk's map: (B, 3, H, W) -> (B, C4, ceil(H / 16), ceil(W / 16))."""
        with profile_range("trunk"):
            return cast(Tensor, self.trunk(images))

    def c5(self, c4: Tensor) -> Tensor:
        """Compute the map that RoIs are pooled from: (B, C4, h, w) -> (B, C5, h, w)."""
        with profile_range("conv5"):
            x = self.stage5(c4)
            return cast(Tensor, x if self.reduce is None else F.relu(self.reduce(x)))

    def use_activation_checkpointing(self, *, enabled: bool) -> None:
        """Choose whether training computes activations again in the backward pass, which saves memory."""
        self.trunk.activation_checkpointing = self.stage5.activation_checkpointing = enabled

    def first_stages(self, count: int) -> list[nn.Module]:
        """Return the first `count` of conv1, conv2, conv3 and conv4."""
        return self.trunk.first_stages(count)

    def leading_layers(self) -> list[nn.Module]:
        """Return the first layers of the trunk, about half, which stay in float32 for exact proposals."""
        return self.trunk.leading_layers()
