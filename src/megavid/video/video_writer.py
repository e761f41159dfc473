"""Write frames to an MP4 file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from megavid.core.errors import InputError
from megavid.core.files.ownership import MOVIE_COMMENT
from megavid.core.frames import Image, check_image
from megavid.core.machine.cores import usable_cores
from megavid.video.decode import reason

MIN_TICKS = 90_000
"""Lower limit for the clock ticks per second of a written file: the clock rate of MPEG."""

MAX_TICKS = 2**31 - 1
"""Largest number of clock ticks per second that an MP4 file can express."""

MAX_SIDE = 16_384
"""Largest width or height that the encoder accepts, in pixels."""

_MAX_ASPECT = 65_535
"""Largest numerator or denominator of a pixel's aspect ratio in H.264."""

_MOST_THREADS = 16
"""Most frames that the encoder works on at a time, each with its memory."""


class VideoWriter:
    """Writes H.264 in MP4 that every player can read: yuv420p, BT.709, index at the start of the file.

    Frames keep their times, so that a variable frame rate is preserved. In yuv420p, two columns and two rows
    share their color samples, so an odd width or height is made even by repeating the last column or row.

    Args:
        path: The file to write. It is not written atomically; see `megavid.core.files.atomic.atomic_path`.
        rate: Frames per second; the average if the rate varies. Times that are multiples of 1 / rate are
            stored exactly.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        pixel_aspect: Width of a pixel divided by its height, which tells players how to stretch the frames.

    Raises:
        InputError: The file cannot be written, or H.264 does not support the size.

    Examples:
        >>> with VideoWriter(Path("out.mp4"), rate=Fraction(25), width=640, height=480) as writer:
        ...     for frame in reader:
        ...         writer.write(frame.image, frame.time)
    """

    def __init__(
        self, path: Path, *, rate: Fraction, width: int, height: int, pixel_aspect: Fraction = Fraction(1)
    ) -> None:
        if rate <= 0 or width <= 0 or height <= 0:
            raise InputError(f"{path}: expected a positive rate and size, got {rate}, {width}x{height}")
        if max(width, height) > MAX_SIDE:
            raise InputError(f"{path}: H.264 takes sides up to {MAX_SIDE} pixels, got {width}x{height}")
        rate = max(rate.limit_denominator(10_000), Fraction(1, 10_000))
        self.path = path
        self._size = (height, width)
        ticks = min(rate.numerator * math.ceil(MIN_TICKS / rate.numerator), MAX_TICKS)
        self._tick = Fraction(1, ticks)
        self._period = max(1, round(ticks / rate))
        self._shift = 0
        self._last: int | None = None
        self._open = True
        self._reformatter = VideoReformatter()
        try:
            # Without the prefix, FFmpeg would take a name such as "http:x.mp4" for an address.
            self._container = av.open(
                f"file:{path}", mode="w", format="mp4", options={"movflags": "+faststart"}
            )
            self._container.metadata["comment"] = MOVIE_COMMENT
            self._stream = self._add_stream(rate, pixel_aspect)
            self._container.start_encoding()
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error, f"{width}x{height} at {rate} frames per second") from error

    def write(self, image: Image, time: float) -> None:
        """Append a frame.

        Args:
            image: RGB uint8 (H, W, 3) of the writer's size.
            time: Time in seconds at which the frame is shown. If this time is not later than that of the
                previous frame, as when a stream starts over, the frame is shown one frame period after the
                previous one, and the times of all later frames are shifted by the same amount.

        Raises:
            InputError: The image has another size, or the disk is full.
        """
        image = check_image(image, name=str(self.path))
        if image.shape[:2] != self._size:
            (height, width), (h, w) = self._size, image.shape[:2]
            raise InputError(f"{self.path}: expected frames of {width}x{height} pixels, got {w}x{h}")
        height, width = self._size
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._reformatter.reformat(
            # Unlike `from_ndarray`, this does not copy the image while all other threads wait.
            VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.time_base = self._stamp(time), self._tick
        self._encode(frame)

    def close(self) -> None:
        """Write the last frames and the index, and close the file.

        Raises:
            InputError: The disk is full.
        """
        if not self._open:
            return
        self._encode(None)
        self._open = False
        try:
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add_stream(self, rate: Fraction, pixel_aspect: Fraction) -> VideoStream:
        height, width = self._size
        options = {"preset": "veryfast", "crf": "20"}
        stream = self._container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        # PyAV's default is to divide each frame among all threads, which wait for each other at its end.
        stream.thread_type, stream.thread_count = "FRAME", min(usable_cores(), _MOST_THREADS)
        if pixel_aspect != 1:
            stream.codec_context.sample_aspect_ratio = pixel_aspect.limit_denominator(_MAX_ASPECT)
        stream.codec_context.time_base = self._tick
        stream.color_range = ColorRange.MPEG
        stream.colorspace = Colorspace.ITU709
        stream.color_primaries = ColorPrimaries.BT709
        stream.color_trc = ColorTrc.BT709
        return stream

    def _stamp(self, time: float) -> int:
        stamp = round(time / self._tick) + self._shift
        if self._last is not None and stamp <= self._last:
            self._shift += self._last + self._period - stamp
            stamp = self._last + self._period
        self._last = stamp
        return stamp

    def _encode(self, frame: VideoFrame | None) -> None:
        try:
            self._mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _mux(self, packets: Sequence[Packet[VideoStream]]) -> None:
        for packet in packets:
            packet.duration = self._period  # players use the duration of the last frame only
            self._container.mux(packet)

    def _failed(self, error: av.FFmpegError | OSError, what: str = "") -> InputError:
        """Mark the writer as closed, and return the error to raise."""
        self._open = False
        words = reason(error) if isinstance(error, av.FFmpegError) else error.strerror
        return InputError(f"{self.path}: cannot be written{what and f' ({what})'}: {words}")
