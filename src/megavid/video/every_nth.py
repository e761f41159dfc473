"""Random access to every n-th frame of a video."""

from __future__ import annotations

import math

from megavid.core.frames import FrameSource, Image
from megavid.video.video_file import VideoFile


class EveryNth:
    """Random access to frames 0, n, 2n and so on of a video, which have the numbers 0, 1, 2 and so on here.

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
