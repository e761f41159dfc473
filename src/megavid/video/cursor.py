"""Decode any frame of a video file by its number."""

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
"""Number of frames up to which decoding them is faster than seeking past them."""

Numbered = tuple[int, VideoFrame]


class Cursor:
    """A decoder with a position in a file, which can be moved to any frame.

    The cursor keeps the current frame and the frame decoded before it. All frames between these two are
    damaged.

    Args:
        path: The file.
        index: Index of the file's frames.
        frame_threads: Whether to decode several frames at a time. If so, FFmpeg's decoders lose the last
            frames of a file when one of these is damaged.

    Attributes:
        damaged: Whether a damaged packet was found.
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
        """Return frame `index`; None if it is damaged."""
        self._go_to(index)
        if self._kept_frame(index) is None and self._frame_threads:
            self.close()
            self._frame_threads = False
            self._go_to(index)
        return self._kept_frame(index)

    def nearest(self, index: int) -> Numbered:
        """Return frame `index` with its number, or a neighbor with its number if frame `index` is damaged.

        The neighbor is the nearest frame before it that can be decoded, or else the nearest after it.
        """
        found = self.find(index)
        if found is not None:
            return index, found
        nearest = self._before or self._now
        assert nearest is not None, "opening the file decoded a frame"
        return nearest

    def onwards(self, index: int) -> Iterator[Numbered]:
        """Iterate over the frames from `index` on, with their numbers and without damaged frames."""
        self._go_to(index)
        if self._before is not None and self._before[0] >= index:
            yield self._before
        while self._now is not None:
            if self._now[0] >= index:
                yield self._now
            self._advance(self._now[0] + 1)

    def close(self) -> None:
        """Close the file; the next request for a frame opens it again."""
        self._frames = iter(())
        self._before = self._now = None
        if self._container is not None:
            self._container.close()
        self._container = None

    def _kept_frame(self, index: int) -> VideoFrame | None:
        """Return frame `index` if it is the current or the previous one."""
        for entry in (self._now, self._before):
            if entry is not None and entry[0] == index:
                return entry[1]
        return None

    def _go_to(self, index: int) -> None:
        """Move to frame `index`, or to the frames around it if it is damaged."""
        key = bisect_right(self._index.keys, index) - 1
        if not self._within_reach(index, self._index.keys[key]):
            while not self._start(key):
                key = min(key, len(self._index.keys)) - 1
        self._advance(index)

    def _within_reach(self, index: int, key: int) -> bool:
        """Return whether decoding further reaches frame `index` sooner than starting at frame `key` would."""
        if self._before is not None and self._before[0] <= index and self._now is None:
            return True  # all frames have been decoded
        if self._now is None:
            return False
        now = self._now[0]
        earliest = now if self._before is None else self._before[0]
        return earliest <= index and (key <= now or index - now <= NEAR)

    def _advance(self, index: int) -> None:
        while self._now is not None and self._now[0] < index:
            self._before, self._now = self._now, next(self._frames, None)

    def _start(self, number: int) -> bool:
        """Start to decode at key frame `number`, counted from 0 among the key frames of the index.

        For key frame 0, the file is opened again; the other key frames are reached by seeking.

        Returns:
            False if the frame is damaged, cannot be reached by seeking, or turns out not to be a key frame;
            always True for key frame 0.
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
            except av.FFmpegError:  # the file is not seekable
                return False
            packets = _from_key(packets, pts)
        # Frames that are decoded after the key frame but shown before it may refer to earlier frames, which
        # were not decoded.
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
    """Yield the packets from the key frame with timestamp `pts` on; none if that key frame is missing."""
    for packet in packets:
        if packet.is_keyframe and packet.pts is not None and packet.pts >= pts:
            if packet.pts == pts:
                yield packet
                yield from packets
            return
