"""From an RGB frame to the network's input."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import PIL.Image
import torch
from pydantic import Field
from torch import Tensor

from megavid.core.config import Config
from megavid.core.frames import Image

LARGEST_SIDE = 10_000
"""The most pixels of a side of the network's input. Frames of 8K video have 7680."""

_Level = Annotated[float, Field(ge=0, le=255)]


class InputConfig(Config):
    """Size and normalisation of the network's input.

    Attributes:
        min_size: Length of the shorter side after resizing, pixels.
        max_size: The longer side's limit, pixels; the shorter one gives way.
        mean: What is taken off the blue, green and red channels (0 .. 255).
    """

    min_size: int = Field(ge=16, le=LARGEST_SIDE)
    max_size: int = Field(ge=16, le=LARGEST_SIDE)
    mean: tuple[_Level, _Level, _Level] = Field(strict=False)


def input_size(height: int, width: int, *, min_size: int, max_size: int) -> tuple[int, int]:
    """(height, width) of the network's input for a frame's, as the original computes it.

    The shorter side becomes `min_size`, or less where the longer would pass `max_size` (rounded half to
    even); the longer follows, truncated. At least 1 each.
    """
    short, long = min(height, width), max(height, width)
    side = min_size
    if long / short * side > max_size:
        side = max(round(max_size * short / long), 1)
    if short == side:
        return height, width
    other = int(side * long / short)
    return (side, other) if height <= width else (other, side)


def network_input(image: Image, config: InputConfig) -> Tensor:
    """An RGB uint8 (H, W, 3) frame, resized, as BGR float32 (3, h, w) less the mean, not divided."""
    size = input_size(image.shape[0], image.shape[1], min_size=config.min_size, max_size=config.max_size)
    if size != image.shape[:2]:
        # Pillow's bilinear filter, which averages when shrinking, is part of the original's behaviour.
        resized = PIL.Image.fromarray(image).resize((size[1], size[0]), PIL.Image.Resampling.BILINEAR)
        image = np.asarray(resized)
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).float()
    return bgr - torch.tensor(config.mean)[:, None, None]
