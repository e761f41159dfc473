"""Convert RGB frames to network input."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import PIL.Image
import torch
from pydantic import Field
from torch import Tensor

from megavid.core.config import Config
from megavid.models.layers.resize import resize_bilinear

LARGEST_SIDE = 10_000
"""Upper limit of a side of the network's input, in pixels. Frames of 8K video are 7680 pixels wide."""

_Level = Annotated[float, Field(ge=0, le=255)]


class InputConfig(Config):
    """Size and normalization of the network's input.

    Attributes:
        min_size: Length of the shorter side after resizing, pixels.
        max_size: Limit of the longer side, pixels; the input shrinks to meet it, below `min_size` if need be.
        mean: Values subtracted from the blue, green and red channels (0 .. 255).
    """

    min_size: int = Field(ge=16, le=LARGEST_SIDE)
    max_size: int = Field(ge=16, le=LARGEST_SIDE)
    mean: tuple[_Level, _Level, _Level] = Field(strict=False)


def input_size(height: int, width: int, *, min_size: int, max_size: int) -> tuple[int, int]:
    """Compute (height, width) of the network's input for a frame, as the original does.

    The shorter side becomes `min_size`. If the longer side would then exceed `max_size`, the shorter side
    becomes the length (rounded half to even) at which it does not. The longer side keeps the aspect ratio,
    truncated to whole pixels. Each side has at least one pixel.
    """
    short, long = min(height, width), max(height, width)
    side = min_size
    if long / short * side > max_size:
        side = max(round(max_size * short / long), 1)
    if short == side:
        return height, width
    other = int(side * long / short)
    return (side, other) if height <= width else (other, side)


def network_input(frames: Tensor, config: InputConfig) -> Tensor:
    """Resize frames and normalize them as the original does: BGR minus the mean, without a division.

    Args:
        frames: (B, H, W, 3) uint8 RGB.
        config: Size and mean.

    Returns:
        (B, 3, h, w) float32, on the device of the frames.
    """
    height, width = frames.shape[1:3]
    size = input_size(height, width, min_size=config.min_size, max_size=config.max_size)
    if size != (height, width):
        frames = _resize(frames, size)
    channels = frames.unbind(3)[::-1]
    return torch.stack([c.float() - mean for c, mean in zip(channels, config.mean, strict=True)], dim=1)


def _resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize frames (B, H, W, 3) with Pillow's bilinear filter, which averages pixels when it shrinks."""
    if frames.device.type != "cpu":
        return resize_bilinear(frames, size)
    resized = [
        PIL.Image.fromarray(frame.numpy()).resize((size[1], size[0]), PIL.Image.Resampling.BILINEAR)
        for frame in frames
    ]
    return torch.from_numpy(np.stack([np.asarray(frame) for frame in resized]))
