"""FlowNet-S (Dosovitskiy et al., ICCV 2015) as DFF and FGFA use it: one flow vector per cell of a map.

Shapes: B pairs of frames; network input of H x W pixels; trunk map of h x w = ceil(H / 16) x ceil(W / 16)
cells; C channels of the first layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FLOW_SCALE = 2.5
"""Cells of the trunk's map per unit of the network's output."""

MOST_FLOW_CHANNELS = 1024
"""Upper limit on the channels of the first layer; the deepest layers have sixteen times as many."""


def flow_input(images: Tensor) -> Tensor:
    """Convert network inputs (B, 3, H, W) to inputs of `FlowNet`, (B, 3, ceil(H / 2), ceil(W / 2))."""
    return F.avg_pool2d(images / 255, 2, ceil_mode=True)


class FlowNet(nn.Module):
    """Network for optical flow from one frame to another: ten convolutions, then four refinements.

    Args:
        width: C; 64 as published.

    Attributes:
        out_channels: Number of channels of the features that the flow is predicted from.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        c = width
        self.conv1 = nn.Conv2d(6, c, 7, 2, 3)
        self.conv2 = nn.Conv2d(c, 2 * c, 5, 2, 2)
        self.conv3 = nn.Conv2d(2 * c, 4 * c, 5, 2, 2)
        self.conv3_1 = nn.Conv2d(4 * c, 4 * c, 3, 1, 1)
        self.conv4 = nn.Conv2d(4 * c, 8 * c, 3, 2, 1)
        self.conv4_1 = nn.Conv2d(8 * c, 8 * c, 3, 1, 1)
        self.conv5 = nn.Conv2d(8 * c, 8 * c, 3, 2, 1)
        self.conv5_1 = nn.Conv2d(8 * c, 8 * c, 3, 1, 1)
        self.conv6 = nn.Conv2d(8 * c, 16 * c, 3, 2, 1)
        self.conv6_1 = nn.Conv2d(16 * c, 16 * c, 3, 1, 1)
        self.refine5 = Refinement(in_channels=16 * c, out_channels=8 * c)
        self.refine4 = Refinement(in_channels=8 * c + 8 * c + 2, out_channels=4 * c)
        self.refine3 = Refinement(in_channels=8 * c + 4 * c + 2, out_channels=2 * c)
        self.refine2 = Refinement(in_channels=4 * c + 2 * c + 2, out_channels=c)
        self.out_channels = 2 * c + c + 2
        self.predict = nn.Conv2d(self.out_channels, 2, 3, 1, 1)

    def forward(self, current: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Predict where each cell of the current frame lies in the reference frame.

        Args:
            current: (B, 3, ceil(H / 2), ceil(W / 2)), result of `flow_input` for the current frames; or
                (1, ...) for one current frame that all pairs share.
            reference: (B, 3, ceil(H / 2), ceil(W / 2)), result of `flow_input` for the reference frames.

        Returns:
            Displacements in x and y, (B, 2, h, w), in cells of the trunk's map; and the features that the
            displacements are predicted from, (B, `out_channels`, h, w).
        """
        x1 = _leaky(self._conv1(current, reference))
        x2 = _leaky(self.conv2(x1))
        x3 = _leaky(self.conv3_1(_leaky(self.conv3(x2))))
        x4 = _leaky(self.conv4_1(_leaky(self.conv4(x3))))
        x5 = _leaky(self.conv5_1(_leaky(self.conv5(x4))))
        x6 = _leaky(self._conv6_1(_leaky(self.conv6(x5))))
        x5 = self.refine5(x6, x5)
        x4 = self.refine4(x5, x4)
        x3 = self.refine3(x4, x3)
        features = F.avg_pool2d(self.refine2(x3, x2), 2, ceil_mode=True)
        return _FLOW_SCALE * self.predict(features).float(), features

    def _conv1(self, current: Tensor, reference: Tensor) -> Tensor:
        """Convolve the frames of a pair one by one and add, so that one current frame can serve all pairs."""
        of_current, of_reference = self.conv1.weight.split(3, dim=1)
        x = F.conv2d(current, of_current, self.conv1.bias, self.conv1.stride, self.conv1.padding)
        return x + F.conv2d(reference, of_reference, None, self.conv1.stride, self.conv1.padding)

    def _conv6_1(self, x: Tensor) -> Tensor:
        """Apply conv6_1; pad maps of one row or column, whose gradients by oneDNN would vary between runs."""
        height, width = x.shape[2:]
        wide = F.pad(x, (0, max(2 - width, 0), 0, max(2 - height, 0)))
        y: Tensor = self.conv6_1(wide)
        return y[:, :, :height, :width]


class Refinement(nn.Module):
    """Double the resolution: join features of a skip connection with upsampled deeper features and flow.

    Args:
        in_channels: Number of channels of the deeper features.
        out_channels: Number of channels of the upsampled features.
    """

    def __init__(self, *, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.predict = nn.Conv2d(in_channels, 2, 3, 1, 1)
        self.upsample_flow = nn.ConvTranspose2d(2, 2, 4, 2)
        self.deconv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2)

    def forward(self, deeper: Tensor, skip: Tensor) -> Tensor:
        """Join `deeper` (B, in_channels, h, w) and `skip` (B, S, H, W) to (B, S + out_channels + 2, H, W)."""
        height, width = skip.shape[2:]
        flow = self.upsample_flow(self.predict(deeper))
        up = _leaky(self.deconv(deeper))
        flow, up = (x[:, :, 1 : height + 1, 1 : width + 1] for x in (flow, up))
        return torch.cat((skip, up, flow), dim=1)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)
