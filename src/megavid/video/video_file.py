"""Video files: frames in order, and any frame by its number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Self

from av.container import InputContainer
from av.video.frame import VideoFrame

from megavid.core.errors import InputError
from megavid.core.frames import Frame, Image
from megavid.video.cursor import Cursor
from megavid.video.decode import (
    decode,
    decode_packet,
    frame_rate,
    open_file,
    packets_to_break,
    video_stream,
)
from megavid.video.frame_index import DecodedStart, FrameIndex, Numbering, scan
from megavid.video.pixels import RgbConverter, displayed_aspect, displayed_size

_CHECKED = 12
"""Frames that are decoded to see whether their timestamps rise, where a codec reorders frames."""


class VideoFile:
    """A video that FFmpeg can read.

    The file's packets are listed once when it is opened. A frame's index is its place in that list in
    order of presentation, for iteration and indexing alike: where a frame is damaged beyond decoding,
    iteration passes over its index, and indexing raises an error. Packets that FFmpeg does not show (VP8's
    hidden references, an AVI's empty chunks, what a file that was cut out of another starts with) are no
    frames.

    Where the container stores no usable presentation times (AVI and raw streams with reordered frames, also
    when they were copied into another container; clips that were joined byte by byte), frames are counted
    as they are decoded, and going back to an earlier frame decodes from the start.

    Args:
        path: A file that holds all of the video: playlists are refused.

    Attributes:
        path: The file.
        name: Its name without the folder.
        rate: Frames a second, the average where the rate varies.
        width: Width in pixels, as displayed.
        height: Height in pixels, as displayed.
        pixel_aspect: Width of a pixel by its height, as displayed.
        lost: How many frames were declared or found in the file but could not be delivered; known once an
            iteration has come to its end, 0 before.

    Raises:
        InputError: The file cannot be read, or holds no video, none of it can be decoded, or its frames have
            more than 35,651,584 pixels (8192x4352). Also while reading, when the size of the frames changes.

    Examples:
        >>> with VideoFile(Path("clip.mp4")) as video:
        ...     for frame in video:
        ...         print(frame.index, frame.time, frame.image.shape)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.lost = 0
        with self._open() as container:
            stream = video_stream(container, name=str(path))
            index = scan(container, stream, name=str(path))
            self.rate = frame_rate(stream)
            pixel_aspect: Fraction | None = stream.sample_aspect_ratio
            reordered = stream.codec_context.reorder_depth > 0
        start = self._start(_CHECKED if reordered else 1, headless=index.headless)
        self._index: FrameIndex = index.checked(start)
        self._times = self._index.times or [float(i / self.rate) for i in range(self._index.length)]
        self.width, self.height = displayed_size(start.first)
        self.pixel_aspect = displayed_aspect(start.first, pixel_aspect)
        self._lock = threading.Lock()
        self._cursor: Cursor | None = None
        self._converter = RgbConverter()

    def __len__(self) -> int:
        return self._index.length

    def __iter__(self) -> Iterator[Frame]:
        delivered = 0
        numbering, convert = Numbering(self._index), RgbConverter().convert
        with self._open() as container:
            stream = video_stream(container, name=str(self.path))
            stream.thread_type = "AUTO"
            for frame in decode(stream, packets_to_break(container, stream)):
                number = numbering.number(frame)
                if number is not None and frame is not None:
                    yield self._frame(number, frame, convert)
                    delivered += 1
        damaged = numbering.damaged or self._index.declared > len(self)
        if numbering.last + 1 < len(self):  # FFmpeg's threads dropped it with a damaged end
            cursor = Cursor(self.path, self._index, frame_threads=False)
            try:
                for number, frame in cursor.onwards(numbering.last + 1):
                    yield self._frame(number, frame, convert)
                    delivered += 1
            finally:
                cursor.close()
            damaged = damaged or cursor.damaged
        # What is missing from a file without damage was never to be shown.
        self.lost = self._index.declared - delivered if damaged else 0

    def every(self, n: int) -> Iterator[Frame]:
        """Iterate over the frames 0, n, 2n, ...; those between are not converted, nor decoded if possible.

        Args:
            n: 1 for all frames.
        """
        if n == 1:
            yield from self
            return
        delivered, asked = 0, range(0, len(self), n)
        cursor, convert = Cursor(self.path, self._index), RgbConverter().convert
        try:
            for index in asked:
                frame = cursor.find(index)
                if frame is not None:
                    yield self._frame(index, frame, convert)
                    delivered += 1
        finally:
            cursor.close()
        self.lost = len(asked) - delivered

    def __getitem__(self, index: int) -> Image:
        """RGB uint8 (H, W, 3) of frame `index`, from a decoder of its own; any thread may ask.

        Raises:
            IndexError: Not 0 <= index < len(self).
            InputError: The frame is damaged, or its size differs from the first frame's.
        """
        with self._lock:
            frame = self._standing_at(index).find(index)
            if frame is None:
                raise InputError(f"{self.path}: frame {index} is damaged and cannot be decoded")
            return self._image(index, frame, self._converter.convert)

    def nearest(self, index: int) -> Image:
        """RGB uint8 (H, W, 3) of frame `index`, or if it is damaged the nearest before it, else after it.

        Raises:
            IndexError: Not 0 <= index < len(self).
            InputError: The frame's size differs from the first frame's.
        """
        with self._lock:
            found, frame = self._standing_at(index).nearest(index)
            return self._image(found, frame, self._converter.convert)

    def close(self) -> None:
        """Let go of the decoder that indexing uses."""
        with self._lock:
            if self._cursor is not None:
                self._cursor.close()
            self._cursor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> InputContainer:
        return open_file(self.path)

    def _start(self, count: int, *, headless: int) -> DecodedStart:
        """Decode the first frames.

        Args:
            count: How many, if there are as many.
            headless: How many packets come before the first key frame's; they need not be decodable.
        """
        first: VideoFrame | None = None
        stamps: list[int | None] = []
        damaged = False
        with self._open() as container:
            stream = video_stream(container, name=str(self.path))
            for place, packet in enumerate(chain(packets_to_break(container, stream), [None])):
                for frame in decode_packet(stream, packet):
                    first = first or frame
                    damaged = damaged or (first is None and place >= headless)
                    if frame is not None:
                        stamps.append(frame.pts)
                if len(stamps) >= count:
                    break
        if first is None:
            raise InputError(f"{self.path}: expected a video, not one frame of it can be decoded")
        return DecodedStart(first=first, stamps=stamps, damaged=damaged)

    def _standing_at(self, index: int) -> Cursor:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: frame {index} of {len(self)}")
        if self._cursor is None:
            self._cursor = Cursor(self.path, self._index)
        return self._cursor

    def _frame(self, index: int, frame: VideoFrame, convert: Callable[[VideoFrame], Image]) -> Frame:
        return Frame(index, self._times[index], self._image(index, frame, convert))

    def _image(self, index: int, frame: VideoFrame, convert: Callable[[VideoFrame], Image]) -> Image:
        width, height = displayed_size(frame)
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"{self.path}: expected frames of one size, frame {index} is {width}x{height} "
                f"after {self.width}x{self.height}"
            )
        return convert(frame)
