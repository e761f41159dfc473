"""Which frames a video file holds, and where."""

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
"""Places by which decoding may precede or follow showing: codecs allow 16, more is a broken timestamp."""


@dataclass(frozen=True, kw_only=True)
class DecodedStart:
    """What the first packets of a file were decoded to.

    Attributes:
        first: The first frame.
        stamps: Timestamps of the first frames, this one's and those that follow.
        damaged: Whether packets before it, from the first key frame on, are damaged.
    """

    first: VideoFrame
    stamps: list[int | None]
    damaged: bool


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """Where the frames of a file are.

    Attributes:
        length: Number of frames to be shown.
        declared: The same, or more if the container's header promises more.
        places: Presentation timestamp -> index of the frame; empty if frames are to be counted instead.
        times: Seconds of every frame from the first; empty if they are not known.
        keys: Indexes of the key frames, ascending, and 0.
        key_stamps: Presentation timestamp of each key frame, and where to seek to for it.
        headless: How many packets come before the first key frame's.
    """

    length: int
    declared: int
    places: dict[int | None, int]
    times: list[float]
    keys: list[int]
    key_stamps: list[tuple[int, int]]
    headless: int

    def without_keys(self) -> FrameIndex:
        """Return a copy for decoding from the start only."""
        return replace(self, keys=[0], key_stamps=[(0, 0)])

    def counted(self) -> FrameIndex:
        """Return a copy that counts frames instead of using timestamps."""
        return replace(self.without_keys(), places={})

    def checked(self, start: DecodedStart) -> FrameIndex:
        """Return a copy that agrees with the first decoded frames.

        A file that was cut out of a longer video may start with frames that refer to what was cut off; they
        are no frames of this file. Where the decoder's timestamps fall, or are not the packets', frames are
        counted.
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
    """Numbers the frames of one pass through a file, as a decoder gives them.

    Args:
        index: The file's.

    Attributes:
        last: The newest frame's number.
        damaged: Whether one was damaged from the first key frame on, or could not be numbered.
    """

    def __init__(self, index: FrameIndex) -> None:
        self._index = index
        self._started = index.headless == 0
        self.last = -1
        self.damaged = False

    def number(self, frame: VideoFrame | None) -> int | None:
        """The number of what the decoder gave; None if it is no frame of the video, or out of order.

        Args:
            frame: A frame, or None for a damaged one, which keeps its number.
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
    """A packet's presentation and decoding time, and whether it is a key frame."""

    pts: int
    dts: int
    key: bool


def scan(container: InputContainer, stream: VideoStream, *, name: str) -> FrameIndex:
    """List the packets without decoding any.

    Args:
        container: At its start.
        stream: Of it.
        name: What log messages call it.
    """
    promised = _promised(container, stream)
    shown: list[tuple[int | None, int | None, bool]] = []
    hidden = 0  # frames that an edit list cuts from view, or that only serve as references
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
    """How many packets the header says that there are, but for those that it says are empty."""
    listed = len(stream.index_entries)
    # The MP4 family's list of samples leaves out what an edit list cuts away completely, AVI's (if it was
    # not cut off with the end of the file) the chunks without data.
    if "mp4" in container.format.name.split(",") or (container.format.name == "avi" and listed > 1):
        return min(stream.frames, listed)
    return stream.frames


def _is_shown(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet holds a frame that is shown; VP8 and VP9 say so in its first byte."""
    if codec not in ("vp8", "vp9"):
        return True
    data = memoryview(packet)
    if codec == "vp8":
        return bool(data[0] & 0x10)
    if data[-1] & 0xE0 == 0xC0:  # several frames, the last of which is shown
        return True
    flags = data[0] << 1 if data[0] & 0x30 == 0x30 else data[0]  # profile 3 has a bit more in front
    return bool(flags & 0x08 or flags & 0x02)


def _with_stamps(
    index: FrameIndex, stream: VideoStream, packets: list[tuple[int | None, int | None, bool]]
) -> FrameIndex:
    """The index with timestamps, as far as they are of use."""
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
    # AVI knows no presentation times, and raw streams have none to copy into another container: what stands
    # there are times of decoding, which are those of other frames once frames are reordered.
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
