"""Index the frames of a video file from its packets, without decoding all frames."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import pairwise

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from megavid.video.decode import read_packets, reason

logger = logging.getLogger(__name__)

_MOST_REORDERED = 32
"""Maximum difference between a frame's places in decoding order and in presentation order. Codecs allow 16;
larger differences than 32 mean that the timestamps are broken."""


@dataclass(frozen=True, kw_only=True)
class DecodedStart:
    """The first decoded frames of a file.

    Attributes:
        first: The first frame.
        stamps: Presentation timestamps of the first few frames.
        damaged: Whether packets between the first key frame and `first` are damaged.
    """

    first: VideoFrame
    stamps: list[int | None]
    damaged: bool


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """The frames of a file, in presentation order.

    Attributes:
        length: Number of frames that are shown.
        declared: Number of frames that the container's header declares, or `length` if that is larger.
        places: Maps presentation timestamps to the indexes of their frames; empty if frames have to be
            counted instead.
        times: Seconds from the first frame to each frame; empty if unknown.
        keys: Indexes of the key frames, ascending; the first is 0 even if frame 0 is not a key frame.
        key_stamps: For each of `keys`, its presentation timestamp and the timestamp to seek to.
        headless: Number of packets before the packet of the first key frame.
    """

    length: int
    declared: int
    places: dict[int | None, int]
    times: list[float]
    keys: list[int]
    key_stamps: list[tuple[int, int]]
    headless: int

    def without_keys(self) -> FrameIndex:
        """Return a copy without key frames, so that frames are found by decoding from the start."""
        return replace(self, keys=[0], key_stamps=[(0, 0)])

    def counted(self) -> FrameIndex:
        """Return a copy without timestamps, so that frames are numbered by counting."""
        return replace(self.without_keys(), places={})

    def checked(self, start: DecodedStart) -> FrameIndex:
        """Return a copy that agrees with the first decoded frames.

        A file that was cut out of a longer video may start with frames that cannot be decoded, since they
        refer to frames before the cut. Such frames are removed from the index. If the timestamps of the
        decoded frames do not increase, or do not occur in the packets, frames are numbered by counting.
        """
        places = [self.places.get(pts, -1) for pts in start.stamps]
        trusted = places[0] >= 0 and all(a < b for a, b in pairwise(places))
        if start.damaged:
            return self if trusted else self.counted()
        if trusted:
            return self._without_start(places[0])
        return self.counted()._without_start(self.headless if start.first.key_frame else 0)

    def _without_start(self, cut: int) -> FrameIndex:
        if cut == 0:
            return replace(self, headless=0)
        kept = [n for n, key in enumerate(self.keys) if key >= cut and self.places]
        start = self.times[cut] if cut < len(self.times) else 0.0
        first = [] if kept and self.keys[kept[0]] == cut else [(0, 0)]
        return replace(
            self,
            length=self.length - cut,
            declared=self.declared - cut,
            places={pts: place - cut for pts, place in self.places.items() if place >= cut},
            times=[time - start for time in self.times[cut:]],
            keys=[0] * len(first) + [self.keys[n] - cut for n in kept],
            key_stamps=first + [self.key_stamps[n] for n in kept],
        )


class Numbering:
    """Numbers the frames that a decoder returns in one pass through a file.

    Args:
        index: Index of the file.

    Attributes:
        last: The last number that was returned or skipped; -1 at the start.
        damaged: Whether a frame after the first key frame was damaged, or could not be numbered.
    """

    def __init__(self, index: FrameIndex) -> None:
        self._index = index
        self._started = index.headless == 0
        self.last = -1
        self.damaged = False

    def number(self, frame: VideoFrame | None) -> int | None:
        """Return the number of a frame; None if the frame is damaged, out of order, or not in the index.

        Args:
            frame: A decoded frame, or None for a damaged frame.
        """
        places = self._index.places
        if frame is None:
            self.damaged = self.damaged or self._started
            if not places and self._started:
                self.last += 1
            return None
        self._started = True
        number = places.get(frame.pts, -1) if places else self.last + 1
        if not self.last < number < self._index.length:
            self.damaged = True
            return None
        self.last = number
        return number


@dataclass(frozen=True, order=True)
class _Shown:
    """A packet of a shown frame: presentation and decoding timestamps, and whether it is a key frame."""

    pts: int
    dts: int
    key: bool


def scan(container: InputContainer, stream: VideoStream, *, name: str) -> FrameIndex:
    """Index a file by listing its packets, without decoding them.

    Args:
        container: The opened file, at its start.
        stream: Video stream of the file.
        name: Name of the file in log messages.
    """
    promised = _promised(container, stream)
    shown: list[tuple[int | None, int | None, bool]] = []
    hidden = 0  # frames that an edit list removes, or that only serve as references
    headless: int | None = None
    try:
        for place, packet in enumerate(read_packets(container, stream)):
            if packet.is_keyframe and headless is None:
                headless = place
            if packet.is_discard or not _is_shown(packet, stream.codec_context.name):
                hidden += 1
            else:
                shown.append((packet.pts, packet.dts, packet.is_keyframe))
    except av.FFmpegError as error:
        logger.warning("%s: breaks off after %d frames: %s", name, len(shown), reason(error))
    index = FrameIndex(
        length=len(shown),
        declared=max(len(shown), promised - hidden),
        places={},
        times=[],
        keys=[0],
        key_stamps=[(0, 0)],
        headless=headless or 0,
    )
    return _with_stamps(index, stream, shown)


def _promised(container: InputContainer, stream: VideoStream) -> int:
    """Return the number of packets that the header declares, without packets known to have no frame."""
    listed = len(stream.index_entries)
    # FFmpeg's list of samples leaves out frames that an edit list removes (MP4 and related formats), and
    # chunks without data (AVI, unless the list is missing because the end of the file was cut off).
    if "mp4" in container.format.name.split(",") or (container.format.name == "avi" and listed > 1):
        return min(stream.frames, listed)
    return stream.frames


def _is_shown(packet: Packet[VideoStream], codec: str) -> bool:
    """Return whether a packet contains a frame that is shown. VP8 and VP9 encode this in the frame header."""
    if codec not in ("vp8", "vp9"):
        return True
    data = memoryview(packet)
    if codec == "vp8":
        return bool(data[0] & 0x10)
    if data[-1] & 0xE0 == 0xC0:  # a superframe, whose last frame is shown
        return True
    flags = data[0] << 1 if data[0] & 0x30 == 0x30 else data[0]  # profile 3 has an additional first bit
    return bool(flags & 0x08 or flags & 0x02)


def _with_stamps(
    index: FrameIndex, stream: VideoStream, packets: list[tuple[int | None, int | None, bool]]
) -> FrameIndex:
    """Add the timestamps of the packets to an index, as far as they are usable."""
    base = stream.time_base
    stamped = [_Shown(pts, pts if dts is None else dts, key) for pts, dts, key in packets if pts is not None]
    decoding = [dts for _, dts, _ in packets if dts is not None]
    distinct = len({packet.pts for packet in stamped}) == len(packets)
    forward = all(a <= b for a, b in pairwise(decoding))
    if not stamped or not distinct or not forward or base is None:
        return index
    order = sorted(stamped)
    places: dict[int | None, int] = {packet.pts: place for place, packet in enumerate(order)}
    index = replace(index, times=[float((packet.pts - order[0].pts) * base) for packet in order])
    # AVI and raw streams have no presentation timestamps. If such a video with reordered frames was copied to
    # another container, its "presentation" timestamps are decoding timestamps, so they fit other frames.
    if order == stamped and stream.codec_context.reorder_depth > 0:
        return index
    shifts = (abs(place - decoded) for decoded, place in enumerate(places[packet.pts] for packet in stamped))
    if max(shifts) > _MOST_REORDERED:
        return replace(index, times=[])
    keys = [i for i, packet in enumerate(order) if packet.key or i == 0]
    return replace(
        index,
        places=places,
        keys=keys,
        key_stamps=[(order[i].pts, order[i].dts) for i in keys],
    )
