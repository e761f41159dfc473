"""Features of a frame, and the window of frames that a method uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic

from torch import Tensor
from typing_extensions import TypeVar


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """Base class for a frame's features: tensors that are computed once per frame.

    A subclass is a dataclass with `frozen=True, eq=False`, since frames are compared by identity.

    Attributes:
        image_size: (height, width) of the network's input.
    """

    image_size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take, in bytes."""
        values = (getattr(self, field.name) for field in fields(self))
        return sum(v.nbytes for v in values if isinstance(v, Tensor))


FeaturesT = TypeVar("FeaturesT", bound=FrameFeatures, default=Any)


@dataclass(frozen=True, eq=False)
class Window(Generic[FeaturesT]):
    """The frames that a method uses to detect the objects of a key frame.

    Attributes:
        step: Number of frames of this video before the key frame, without those that `every` leaves out. In a
            stream, frames that were lost do not count.
        key: The key frame.
        local: The local window, oldest first, including the key frame. The reference plan fixes its
            length, so frames are repeated near the ends of the video.
        global_frames: The global frames.
        frame_size: (height, width) of the video's frames, pixels.
        frame: Number of the key frame in its video, as its result has it. None in a function that a CUDA
            graph holds, which cannot depend on it.
        advance: Difference to the step of the last key frame: 1, or more after frames that were lost.
    """

    step: int
    key: FeaturesT
    local: Sequence[FeaturesT]
    global_frames: Sequence[FeaturesT]
    frame_size: tuple[int, int]
    frame: int | None = None
    advance: int = 1
