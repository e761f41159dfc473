"""Every n-th frame of a video."""

from __future__ import annotations

import math
from collections.abc import Iterator

from megavid.core.frames import Frame, FrameReader, Image


class EveryNth:
    """The frames 0, n, 2n, ... of a video as a video; they keep their numbers and times.

    Args:
        video: The whole video.
        n: 1 for all frames.
    """

    def __init__(self, video: FrameReader, n: int) -> None:
        self._video = video
        self._n = n

    def __len__(self) -> int:
        return math.ceil(len(self._video) / self._n)

    def __getitem__(self, index: int) -> Image:
        return self._video[index * self._n]

    def __iter__(self) -> Iterator[Frame]:
        return (frame for frame in self._video if frame.index % self._n == 0)
