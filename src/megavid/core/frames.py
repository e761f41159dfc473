"""Frames of a video, and what a detector says about one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from megavid.core.detections import Detections
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


@dataclass(frozen=True)
class FrameResult:
    """What was detected in one frame.

    Attributes:
        index: Number of the frame in its video or folder, from 0.
        time: Seconds since the first frame.
        detections: Boxes in pixels of the original frame, on the CPU.
    """

    index: int
    time: float
    detections: Detections


class FrameSource(Protocol):
    """Random access to the frames of a whole video: a list of arrays, an image folder, a video file."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Image:
        """RGB uint8 (H, W, 3) of frame `index`, 0 <= index < len(self)."""
        ...


def check_image(image: object, *, name: str = "frame") -> Image:
    """The image itself, once it is known to be RGB uint8 (H, W, 3) and not empty.

    Raises:
        InputError: It is not; the message says what it is.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"{name}: expected an RGB uint8 array (H, W, 3), got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"{name}: expected an RGB uint8 array (H, W, 3), got {image.dtype} {image.shape}")
    return image
