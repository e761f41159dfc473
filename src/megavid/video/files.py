"""Video files: frames in order, and any frame by its number."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from megavid.core.errors import InputError
from megavid.core.frames import Frame, Image
from megavid.video.decode import (
    decode_to_break,
    frame_rate,
    open_file,
    read_packets,
    reason,
    to_image,
    video_stream,
)

logger = logging.getLogger(__name__)

NEAR = 16
"""Decoding up to so many frames onwards costs less than seeking."""


class VideoFile:
    """A video that FFmpeg can read.

    The file's packets are listed once when it is opened. A frame's index is its place in that list in
    order of presentation, for iteration and indexing alike: where a frame is damaged beyond decoding,
    iteration passes over its index, and indexing gives the nearest frame before it.

    Where the container stores no usable presentation times (AVI with reordered frames, raw H.264, clips
    that were joined byte by byte), frames are counted as they are decoded, evenly spaced in time, and going
    back to an earlier frame decodes from the start.

    Args:
        path: The file.

    Attributes:
        path: The file.
        name: Its name without the folder.
        rate: Frames a second, the average where the rate varies.
        width: Width in pixels, as displayed.
        height: Height in pixels, as displayed.
        lost: How many frames were declared or found in the file but could not be delivered; known once an
            iteration has come to its end, 0 before.

    Raises:
        InputError: The file cannot be read, or holds no video, or none of it can be decoded. Also while
            reading, when the size of the frames changes.

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
            index = _scan(container, stream, name=str(path))
            self.rate = frame_rate(stream)
        first = self._first_frame()
        if first.pts not in index.places:
            index = index.counted()
        self._index = index
        self._times = index.times or [float(i / self.rate) for i in range(index.length)]
        self.height, self.width = to_image(first).shape[:2]
        self._lock = threading.Lock()
        self._cursor: _Cursor | None = None

    def __len__(self) -> int:
        return self._index.length

    def __iter__(self) -> Iterator[Frame]:
        delivered = 0
        with self._open() as container:
            stream = video_stream(container, name=str(self.path))
            stream.thread_type = "AUTO"
            for index, frame in self._index.number(decode_to_break(stream, read_packets(container, stream))):
                yield Frame(index, self._times[index], self._image(index, frame))
                delivered += 1
        self.lost = self._index.declared - delivered

    def __getitem__(self, index: int) -> Image:
        """RGB uint8 (H, W, 3) of frame `index`, from a decoder of its own; any thread may ask.

        Raises:
            IndexError: Not 0 <= index < len(self).
            InputError: The frame's size differs from the first frame's.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: frame {index} of {len(self)}")
        with self._lock:
            if self._cursor is None:
                self._cursor = _Cursor(self.path, self._index)
            found, frame = self._cursor.find(index)
            return self._image(found, frame)

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

    def _first_frame(self) -> VideoFrame:
        with self._open() as container:
            stream = video_stream(container, name=str(self.path))
            for frame in decode_to_break(stream, read_packets(container, stream)):
                return frame
        raise InputError(f"{self.path}: expected a video, not one frame of it can be decoded")

    def _image(self, index: int, frame: VideoFrame) -> Image:
        image = to_image(frame)
        height, width = image.shape[:2]
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"{self.path}: expected frames of one size, frame {index} is {width}x{height} "
                f"after {self.width}x{self.height}"
            )
        return image


@dataclass(frozen=True)
class _Index:
    """Where the frames of a file are.

    Attributes:
        length: Number of frames to be shown.
        declared: The same, or more if the container's header promises more.
        places: Presentation timestamp -> index of the frame; empty if frames are to be counted instead.
        times: Seconds of every frame from the first; empty if frames are to be counted instead.
        keys: Indexes of the key frames, ascending, and 0.
        key_stamps: Of each key frame: its presentation timestamp and where to seek to for it.
    """

    length: int
    declared: int
    places: dict[int | None, int]
    times: list[float]
    keys: list[int]
    key_stamps: list[tuple[int, int]]

    def counted(self) -> _Index:
        """The same without timestamps."""
        return _Index(self.length, self.declared, {}, [], [0], [(0, 0)])

    def number(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        """The frames with their indexes, which rise; a damaged file's frames out of order are left out."""
        last = -1
        for frame in frames:
            index = self.places.get(frame.pts, -1) if self.places else last + 1
            if last < index < self.length:
                yield index, frame
                last = index


def _scan(container: InputContainer, stream: VideoStream, *, name: str) -> _Index:
    """List the packets without decoding any."""
    shown: list[tuple[int | None, int | None, bool]] = []
    discarded = 0  # frames that an edit list keeps for decoding but cuts from view
    try:
        for packet in read_packets(container, stream):
            if packet.is_discard:
                discarded += 1
            else:
                shown.append((packet.pts, packet.dts, packet.is_keyframe))
    except av.FFmpegError as error:
        logger.warning("%s: breaks off after %d frames: %s", name, len(shown), reason(error))
    # Only the MP4 family's list of samples leaves out what an edit list cuts away completely.
    is_mp4 = "mp4" in container.format.name.split(",")
    promised = min(stream.frames, len(stream.index_entries)) if is_mp4 else stream.frames
    declared = max(len(shown), promised - discarded)
    order = _presentation_order(container, stream, shown)
    if not order:
        return _Index(len(shown), declared, {}, [], [0], [(0, 0)])
    base = stream.time_base
    assert base is not None
    keys = [(i, pts, pts if dts is None else dts) for i, (pts, dts, key) in enumerate(order) if key or i == 0]
    return _Index(
        length=len(order),
        declared=declared,
        places={pts: i for i, (pts, _, _) in enumerate(order)},
        times=[float((pts - order[0][0]) * base) for pts, _, _ in order],
        keys=[i for i, _, _ in keys],
        key_stamps=[(pts, seek) for _, pts, seek in keys],
    )


def _presentation_order(
    container: InputContainer, stream: VideoStream, packets: list[tuple[int | None, int | None, bool]]
) -> list[tuple[int, int | None, bool]]:
    """The packets (presentation time, decoding time, key) as presented; none if their times are no use."""
    stamped = [(pts, dts, key) for pts, dts, key in packets if pts is not None]
    decoding = [dts for _, dts, _ in packets if dts is not None]
    order = sorted(stamped)
    distinct = len({pts for pts, _, _ in stamped}) == len(packets)
    forward = all(a <= b for a, b in pairwise(decoding))
    # AVI knows no presentation times: FFmpeg gives those of decoding, which differ when frames are reordered.
    made_up = container.format.name == "avi" and stream.codec_context.has_b_frames and order == stamped
    return order if distinct and forward and not made_up else []


class _Cursor:
    """A decoder that stands at some frame of a file and can be sent to another.

    It keeps the frame it stands at and the one before, so that a damaged frame between them is known.
    """

    def __init__(self, path: Path, index: _Index) -> None:
        self._path = path
        self._index = index
        self._container: InputContainer | None = None
        self._frames: Iterator[tuple[int, VideoFrame]] = iter(())
        self._before: tuple[int, VideoFrame] | None = None
        self._now: tuple[int, VideoFrame] | None = None

    def find(self, index: int) -> tuple[int, VideoFrame]:
        """The frame of this index, else the nearest decodable one before it, else after it; its index too."""
        number = bisect_right(self._index.keys, index) - 1  # of the key frame to start from
        if not self._within_reach(index, self._index.keys[number]):
            self._start(number)
        while True:
            self._advance(index)
            if self._now is not None and self._now[0] == index:
                return self._now
            if self._before is not None:
                return self._before
            if number == 0:
                assert self._now is not None, "opening the file decoded a frame"
                return self._now
            # Nothing from this key frame to the index can be decoded, or seeking missed the key frame.
            number -= 1
            self._start(number)

    def close(self) -> None:
        self._frames = iter(())
        self._before = self._now = None
        if self._container is not None:
            self._container.close()

    def _within_reach(self, index: int, key: int) -> bool:
        """Whether decoding onwards leads to the index, and sooner than from the key frame."""
        if self._before is not None and self._before[0] <= index and self._now is None:
            return True  # past the last frame
        if self._now is None:
            return False
        now = self._now[0]
        earliest = now if self._before is None else self._before[0]
        return earliest <= index and (key <= now or index - now <= NEAR)

    def _advance(self, index: int) -> None:
        while self._now is not None and self._now[0] < index:
            self._before, self._now = self._now, next(self._frames, None)

    def _start(self, number: int) -> None:
        """Decode from a key frame on: the first from the start of the file, others by seeking."""
        reopen = number == 0 or self._container is None
        if reopen:
            self.close()
            self._container = open_file(self._path)
        assert self._container is not None
        stream = video_stream(self._container, name=str(self._path))
        if reopen:
            stream.thread_type = "AUTO"
        packets = read_packets(self._container, stream)
        key_frame, (pts, seek_to) = self._index.keys[number], self._index.key_stamps[number]
        if number > 0:
            try:
                self._container.seek(seek_to, stream=stream)
            except av.FFmpegError:  # not seekable: `find` goes back to the start
                packets = iter(())
            packets = _from_key(packets, pts)
        numbered = self._index.number(decode_to_break(stream, packets))
        # What precedes an open key frame in presentation refers to frames that were not decoded now.
        self._frames = (entry for entry in numbered if entry[0] >= key_frame)
        self._before, self._now = None, next(self._frames, None)


def _from_key(packets: Iterator[Packet[VideoStream]], pts: int) -> Iterator[Packet[VideoStream]]:
    """The packets from the key frame of this timestamp on; none if they start after it."""
    for packet in packets:
        if packet.is_keyframe and packet.pts is not None and packet.pts >= pts:
            if packet.pts == pts:
                yield packet
                yield from packets
            return
