"""Every n-th frame of a video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from megavid.core.frames import Frame, FrameSource, Image


def every_nth(frames: Iterable[Frame], n: int) -> Iterator[Frame]:
    """The frames 0, n, 2n, ... numbered 0, 1, 2, ...; they keep their times."""
    return (replace(frame, index=frame.index // n) for frame in frames if frame.index % n == 0)


class EveryNth:
    """The frames that `every_nth` leaves, by their new numbers.

    Args:
        video: A whole video.
        n: 1 for all frames.
    """

    def __init__(self, video: FrameSource, n: int) -> None:
        self._video = video
        self._n = n

    def __len__(self) -> int:
        return math.ceil(len(self._video) / self._n)

    def __getitem__(self, index: int) -> Image:
        return self._video[index * self._n]
