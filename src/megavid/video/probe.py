"""Read the properties of a video file without reading all of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from megavid.core.errors import InputError
from megavid.video.decode import decode, frame_rate, open_file, packets_to_break, video_stream
from megavid.video.pixels import displayed_size


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Properties of a video file that its header and its first frame tell.

    Attributes:
        width: Width of the first frame in pixels, as displayed.
        height: Height of the first frame in pixels, as displayed.
        frames: Number of frames that the container declares; None if it declares none. The number of frames
            that can be decoded, `len(VideoFile(path))`, may differ.
        rate: Frames per second; the average if the rate varies.
    """

    width: int
    height: int
    frames: int | None
    rate: Fraction


def probe_video(path: Path) -> VideoInfo:
    """Read a video's header and decode its first frame.

    Raises:
        InputError: The file cannot be read, has no video, or no frame of it can be decoded.
    """
    with open_file(path) as container:
        stream = video_stream(container, name=str(path))
        rate, frames = frame_rate(stream), stream.frames or None
        for frame in decode(stream, packets_to_break(container, stream)):
            if frame is not None:
                width, height = displayed_size(frame)
                return VideoInfo(width=width, height=height, frames=frames, rate=rate)
    raise InputError(f"{path}: none of the video's frames can be decoded")
