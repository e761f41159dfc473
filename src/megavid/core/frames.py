"""Frames of a video, and access to the frames by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError

Image = NDArray[np.uint8]
"""RGB pixels, uint8, (H, W, 3)."""


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
        index: Number of the frame in its video or folder, from 0.
        time: Seconds since the first frame.
        image: RGB uint8 (H, W, 3).
    """

    index: int
    time: float
    image: Image


class FrameSource(Protocol):
    """Random access to the frames of a whole video: a list of arrays, an image folder, a video file."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Image:
        """Return frame `index`, 0 <= index < len(self), as RGB uint8 (H, W, 3)."""
        ...


def check_image(image: object, *, name: str = "frame") -> Image:
    """Check that an object is a non-empty RGB uint8 array (H, W, 3), and return it unchanged.

    Args:
        image: The object to check.
        name: Name of the image in error messages.

    Raises:
        InputError: The object has another type, dtype or shape, which the message states.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"{name}: expected an RGB uint8 array (H, W, 3), got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"{name}: expected an RGB uint8 array (H, W, 3), got {image.dtype} {image.shape}")
    return image
