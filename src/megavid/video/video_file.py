"""Read the frames of a video file in order or by number."""

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

_CHECKED_FRAMES = 12
"""If the codec reorders frames, this many frames are decoded to check that their timestamps increase."""


class VideoFile:
    """A video that FFmpeg can read.

    Opening the file lists its packets once. The index of a frame is its place in this list, sorted in
    presentation order, both for iteration and for indexing. Iteration skips damaged frames, and indexing
    raises an error for them. Packets that are not shown do not count as frames: hidden reference frames of
    VP8 and VP9, empty chunks of AVI, and undecodable frames at the start of a file that was cut out of
    another one.

    Some files have no usable presentation timestamps: AVI and raw streams with reordered frames, even when
    copied to another container, and clips that were joined byte by byte. The frames of such files are counted
    while decoding, and reading a frame before the current one decodes the file from its start.

    Args:
        path: A file that contains the whole video, not a playlist.

    Attributes:
        path: The file.
        name: Name of the file without its folder.
        rate: Frames per second; the average if the rate varies.
        width: Width of the frames in pixels, as displayed.
        height: Height of the frames in pixels, as displayed.
        pixel_aspect: Width of a pixel divided by its height, as displayed.
        lost: Number of frames that the file declares or contains, but that could not be decoded. The number
            is set at the end of each iteration, and is 0 before.

    Raises:
        InputError: The file cannot be read, has no video, no frame of it can be decoded, or its frames have
            more than 35,651,584 pixels (8192x4352). Reading frames also raises an `InputError` if the size of
            the frames changes.

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
        start = self._decode_start(_CHECKED_FRAMES if reordered else 1, headless=index.headless)
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
        if numbering.last + 1 < len(self):  # decoding with frame threads lost the last frames
            cursor = Cursor(self.path, self._index, frame_threads=False)
            try:
                for number, frame in cursor.onwards(numbering.last + 1):
                    yield self._frame(number, frame, convert)
                    delivered += 1
            finally:
                cursor.close()
            damaged = damaged or cursor.damaged
        # In a file without damage, frames that the decoder did not return were not meant to be shown.
        self.lost = self._index.declared - delivered if damaged else 0

    def _onwards(self, start: int) -> Iterator[Frame]:
        """Iterate over the frames from `start` > 0 on, as `__iter__` does over all frames."""
        delivered, last, damaged = 0, start - 1, self._index.declared > len(self)
        convert = RgbConverter().convert
        for frame_threads in (True, False):  # the second time, what decoding with frame threads lost
            if last + 1 == len(self):
                break
            cursor = Cursor(self.path, self._index, frame_threads=frame_threads)
            try:
                for number, frame in cursor.onwards(last + 1):
                    yield self._frame(number, frame, convert)
                    delivered, last = delivered + 1, number
            finally:
                cursor.close()
            damaged = damaged or cursor.damaged
        self.lost = self._index.declared - start - delivered if damaged else 0

    def every(self, n: int, *, start: int = 0) -> Iterator[Frame]:
        """Iterate over frames `start`, `start` + n, `start` + 2n and so on.

        The others are not converted and, if possible, not decoded.

        Args:
            n: Step between frames, 1 for all frames.
            start: Number of the first frame.
        """
        if n == 1:
            yield from self._onwards(start) if start else self
            return
        delivered, wanted = 0, range(start, len(self), n)
        cursor, convert = Cursor(self.path, self._index), RgbConverter().convert
        try:
            for index in wanted:
                frame = cursor.find(index)
                if frame is not None:
                    yield self._frame(index, frame, convert)
                    delivered += 1
        finally:
            cursor.close()
        self.lost = len(wanted) - delivered

    def __getitem__(self, index: int) -> Image:
        """Return frame `index` as RGB uint8 (H, W, 3); can be called from any thread.

        Indexing uses a decoder of its own, so that iteration is not disturbed.

        Raises:
            IndexError: `index` is out of range.
            InputError: The frame is damaged, or differs in size from the first one.
        """
        with self._lock:
            frame = self._cursor_for(index).find(index)
            if frame is None:
                raise InputError(f"{self.path}: frame {index} is damaged and cannot be decoded")
            return self._image(index, frame, self._converter.convert)

    def nearest(self, index: int) -> Image:
        """Return frame `index` as RGB uint8 (H, W, 3), or a neighbor if frame `index` is damaged.

        The neighbor is the nearest frame before it that can be decoded, or else the nearest after it.

        Raises:
            IndexError: `index` is out of range.
            InputError: The returned frame would differ in size from the first one.
        """
        with self._lock:
            found, frame = self._cursor_for(index).nearest(index)
            return self._image(found, frame, self._converter.convert)

    def close(self) -> None:
        """Close the decoder that indexing uses; indexing opens it again."""
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

    def _decode_start(self, count: int, *, headless: int) -> DecodedStart:
        """Decode the first frames.

        Args:
            count: Maximum number of frames.
            headless: Number of packets before the packet of the first key frame. These packets may be
                undecodable, which does not count as damage.
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
            raise InputError(f"{self.path}: none of the video's frames can be decoded")
        return DecodedStart(first=first, stamps=stamps, damaged=damaged)

    def _cursor_for(self, index: int) -> Cursor:
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
