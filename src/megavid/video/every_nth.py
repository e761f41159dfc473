"""Read every n-th frame of a video."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from megavid.core.frames import Frame, FrameSource, Image
from megavid.video.video_file import VideoFile


class Skippable(Protocol):
    """A video that can skip frames."""

    def every(self, n: int) -> Iterator[Frame]:
        """Iterate over frames 0, n, 2n and so on, numbered as in the whole video."""
        ...


def every_nth(video: Skippable, n: int) -> Iterator[Frame]:
    """Iterate over frames 0, n, 2n and so on. They are renumbered 0, 1, 2 and so on, and keep their times."""
    return (replace(frame, index=frame.index // n) for frame in video.every(n))


class EveryNth:
    """Random access to the frames that `every_nth` yields, by their new numbers.

    A damaged frame of a `VideoFile` is replaced by the neighbor that `VideoFile.nearest` returns.

    Args:
        video: A whole video.
        n: Step between frames, 1 for all frames.
    """

    def __init__(self, video: FrameSource, n: int) -> None:
        self._video = video
        self._n = n

    def __len__(self) -> int:
        return math.ceil(len(self._video) / self._n)

    def __getitem__(self, index: int) -> Image:
        number = index * self._n
        return self._video.nearest(number) if isinstance(self._video, VideoFile) else self._video[number]
