"""Every n-th frame of a video."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from megavid.core.frames import Frame, FrameSource, Image
from megavid.video.video_file import VideoFile


class Skippable(Protocol):
    """A video that can be read with frames left out."""

    def every(self, n: int) -> Iterator[Frame]:
        """Iterate over the frames 0, n, 2n, ..., with their own numbers."""
        ...


def every_nth(video: Skippable, n: int) -> Iterator[Frame]:
    """The frames 0, n, 2n, ... numbered 0, 1, 2, ...; they keep their times."""
    return (replace(frame, index=frame.index // n) for frame in video.every(n))


class EveryNth:
    """The frames that `every_nth` leaves, by their new numbers; for a damaged one its nearest neighbor.

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
        number = index * self._n
        return self._video.nearest(number) if isinstance(self._video, VideoFile) else self._video[number]
