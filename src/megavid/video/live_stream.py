"""Read cameras and network streams."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Self

import av
from av.video.frame import VideoFrame

from megavid.core.errors import InputError
from megavid.core.frames import Frame
from megavid.video.decode import decode, frame_rate, open_container, read_packets, reason, video_stream
from megavid.video.pixels import RgbConverter, displayed_aspect, displayed_size

logger = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds to wait for a stream to open, and later for each packet."""


class LiveStream:
    """A camera or network stream, which has no length and can be read only once, in order.

    Iteration ends when the stream ends or breaks off. If it breaks off, a warning is logged.

    Args:
        address: Number of a camera ("0") or an address that FFmpeg understands ("rtsp://...").

    Attributes:
        name: The address.
        rate: Frames per second that the stream declares, or 25 if it declares none.
        width: Width of the frames in pixels, as displayed.
        height: Height of the frames in pixels, as displayed.
        pixel_aspect: Width of a pixel divided by its height, as displayed.

    Raises:
        InputError: The stream cannot be opened, does not answer in time, or sends no video. Reading frames
            also raises an `InputError` if the size of the frames changes.
    """

    def __init__(self, address: str) -> None:
        self.name = address
        if address.isdecimal():
            device, source, options = _camera(int(address))
            self._container = open_container(
                source, name=f"camera {address}", format=device, options=options, timeout=TIMEOUT
            )
        else:
            self._container = open_container(address, name=address, timeout=TIMEOUT)
        try:
            stream = video_stream(self._container, name=address)
            decoded = decode(stream, read_packets(self._container, stream))
            frames = (frame for frame in decoded if frame is not None)
            first = self._first(frames)
        except BaseException:
            self.close()
            raise
        self.rate = frame_rate(stream)
        self.width, self.height = displayed_size(first)
        self.pixel_aspect = displayed_aspect(first, stream.sample_aspect_ratio)
        self._converter = RgbConverter()
        self._start = first.pts
        self._frames = enumerate(chain([first], frames))

    def __iter__(self) -> Iterator[Frame]:
        return self.every(1)

    def every(self, n: int) -> Iterator[Frame]:
        """Iterate over frames 0, n, 2n and so on; the others are decoded, but not converted to RGB."""
        try:
            for index, frame in self._frames:
                if index % n == 0:
                    yield self._frame(index, frame)
        except av.FFmpegError as error:
            logger.warning("%s: the stream broke off: %s", self.name, reason(error))

    def close(self) -> None:
        """Close the connection."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first(self, frames: Iterator[VideoFrame]) -> VideoFrame:
        try:
            first = next(frames, None)
        except av.FFmpegError as error:
            raise InputError(f"{self.name}: expected a video stream: {reason(error)}") from error
        if first is None:
            raise InputError(f"{self.name}: none of the stream's frames can be decoded")
        return first

    def _frame(self, index: int, frame: VideoFrame) -> Frame:
        width, height = displayed_size(frame)
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"{self.name}: expected frames of one size, frame {index} is {width}x{height} "
                f"after {self.width}x{self.height}"
            )
        if frame.pts is None or self._start is None or frame.time_base is None:
            time = float(index / self.rate)
        else:
            time = float((frame.pts - self._start) * frame.time_base)
        return Frame(index, time, self._converter.convert(frame))


def _camera(number: int) -> tuple[str, str, dict[str, str]]:
    """Return FFmpeg's input device for cameras on this system, the camera's name there, and its options."""
    if sys.platform == "darwin":
        return "avfoundation", str(number), {"framerate": "30"}  # most cameras refuse the default of 29.97
    if sys.platform == "win32":
        cameras = [d.name for d in av.enumerate_input_devices("dshow") if "video" in d.media_types]
        if number >= len(cameras):
            raise InputError(f"camera {number}: expected a number below {len(cameras)}, the cameras found")
        return "dshow", f"video={cameras[number]}", {}
    return "v4l2", f"/dev/video{number}", {}
