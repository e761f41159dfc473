"""Segments of videos, which are what the workers of an archive are given."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)  # there may be millions
class ListedVideo:
    """A video of an archive, as it was listed.

    Attributes:
        address: Path or address of the video.
        bytes: Size of the file.
        version: Modification time or ETag, whatever the storage gives: it changes when the file does.
    """

    address: str
    bytes: int
    version: str


@dataclass(frozen=True)
class Segment:
    """A stretch of a video whose key frames one worker detects.

    Attributes:
        video: The video.
        first: Number of the first key frame. Key frames are the frames that are detected: every n-th one.
        last: One past the last key frame; None for the end of the video.
        length: Number of key frames of the whole video; None if no worker has counted them yet.
    """

    video: ListedVideo
    first: int
    last: int | None
    length: int | None

    def identifier(self, settings: str) -> str:
        """Return 32 hexadecimal digits that change when the video, the settings or the stretch does.

        Args:
            settings: Hash of the detector, its weights and the options.
        """
        video = (self.video.address, self.video.bytes, self.video.version)
        values = json.dumps([*video, settings, self.first, self.last])
        return hashlib.sha256(values.encode()).hexdigest()[:32]


def video_id(video: ListedVideo, settings: str) -> str:
    """Return the identifier of a whole video, which is also that of its only segment if it is short."""
    return Segment(video, 0, None, None).identifier(settings)


def split_video(video: ListedVideo, length: int, *, most: int) -> list[Segment]:
    """Split a video into segments of `most` key frames; a video that is not longer is one segment.

    Args:
        video: The video.
        length: Its number of key frames.
        most: Number of key frames of a segment, a multiple of the batch size.
    """
    if length <= most:
        return [Segment(video, 0, None, length)]
    return [
        Segment(video, first, first + most if first + most < length else None, length)
        for first in range(0, length, most)
    ]
