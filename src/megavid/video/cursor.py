"""Any frame of a video file by its number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from megavid.video.decode import decode, open_file, packets_to_break, video_stream
from megavid.video.frame_index import FrameIndex, Numbering

NEAR = 16
"""Frames ahead up to which decoding on costs less than seeking."""

Numbered = tuple[int, VideoFrame]


class Cursor:
    """A decoder that stands at some frame of a file and can be sent to another.

    It keeps the frame it stands at and the one before, so that a damaged frame between them is known.

    Args:
        path: The file.
        index: Its frames.
        frame_threads: Decode several frames at a time. FFmpeg's decoders lose the file's last frames then if
            one of them is damaged.

    Attributes:
        damaged: Whether a damaged packet was met with.
    """

    def __init__(self, path: Path, index: FrameIndex, *, frame_threads: bool = True) -> None:
        self.damaged = False
        self._path = path
        self._index = index
        self._frame_threads = frame_threads
        self._container: InputContainer | None = None
        self._frames: Iterator[Numbered] = iter(())
        self._before: Numbered | None = None
        self._now: Numbered | None = None

    def find(self, index: int) -> VideoFrame | None:
        """The frame of this index; None if it is damaged."""
        self._go_to(index)
        if self._standing_at(index) is None and self._frame_threads:
            self.close()
            self._frame_threads = False
            self._go_to(index)
        return self._standing_at(index)

    def nearest(self, index: int) -> Numbered:
        """The frame of this index, else the last before it, else the first after it; with its index."""
        found = self.find(index)
        if found is not None:
            return index, found
        near = self._before or self._now
        assert near is not None, "opening the file decoded a frame"
        return near

    def onwards(self, index: int) -> Iterator[Numbered]:
        """The frames from this index on."""
        self._go_to(index)
        if self._before is not None and self._before[0] >= index:
            yield self._before
        while self._now is not None:
            if self._now[0] >= index:
                yield self._now
            self._advance(self._now[0] + 1)

    def close(self) -> None:
        """Let go of the file; the next frame asked for opens it again."""
        self._frames = iter(())
        self._before = self._now = None
        if self._container is not None:
            self._container.close()
        self._container = None

    def _standing_at(self, index: int) -> VideoFrame | None:
        """The frame of this index if it is one of the two that are kept."""
        for entry in (self._now, self._before):
            if entry is not None and entry[0] == index:
                return entry[1]
        return None

    def _go_to(self, index: int) -> None:
        """Stand at the frame, or between those around it."""
        number = bisect_right(self._index.keys, index) - 1  # of the key frame to start from
        if not self._within_reach(index, self._index.keys[number]):
            while not self._start(number):
                number = min(number, len(self._index.keys)) - 1
        self._advance(index)

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

    def _start(self, number: int) -> bool:
        """Decode from a key frame on: the first from the start of the file, others by seeking.

        Returns:
            Whether that can be done; False if the frame is damaged, seeking missed it, or it is no key frame.
        """
        reopen = number == 0 or self._container is None
        if reopen:
            self.close()
            self._container = open_file(self._path)
        assert self._container is not None
        stream = video_stream(self._container, name=str(self._path))
        if reopen:
            stream.thread_type = "AUTO" if self._frame_threads else "SLICE"
        packets = packets_to_break(self._container, stream)
        key_frame, (pts, seek_to) = self._index.keys[number], self._index.key_stamps[number]
        if number > 0:
            try:
                self._container.seek(seek_to, stream=stream)
            except av.FFmpegError:  # not seekable
                return False
            packets = _from_key(packets, pts)
        # What precedes an open key frame in presentation refers to frames that were not decoded now.
        self._frames = (entry for entry in self._numbered(stream, packets) if entry[0] >= key_frame)
        self._before, self._now = None, next(self._frames, None)
        if number == 0:
            return True
        if self._now is None or self._now[0] != key_frame:
            return False
        if self._now[1].key_frame or self._now[1].pict_type is PictureType.I:
            return True
        self._index = self._index.without_keys()  # some files mark all frames as key frames
        return False

    def _numbered(self, stream: VideoStream, packets: Iterator[Packet[VideoStream]]) -> Iterator[Numbered]:
        numbering = Numbering(self._index)
        for frame in decode(stream, packets):
            number = numbering.number(frame)
            self.damaged = self.damaged or numbering.damaged
            if number is not None and frame is not None:
                yield number, frame


def _from_key(packets: Iterator[Packet[VideoStream]], pts: int) -> Iterator[Packet[VideoStream]]:
    """The packets from the key frame of this timestamp on; none if they start after it."""
    for packet in packets:
        if packet.is_keyframe and packet.pts is not None and packet.pts >= pts:
            if packet.pts == pts:
                yield packet
                yield from packets
            return
