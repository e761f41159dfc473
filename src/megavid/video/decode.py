"""Decoding through FFmpeg: what video files and live streams have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.error import ExitError
from av.format import ContainerFormat
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from megavid.core.errors import InputError
from megavid.core.frames import Image

DEFAULT_RATE = Fraction(25)
"""Frames a second where nothing says how many: image folders, raw video."""


def open_container(
    address: str,
    *,
    name: str,
    format: str | None = None,  # noqa: A002 - av.open's word for it
    options: dict[str, str] | None = None,
    timeout: float | None = None,
) -> InputContainer:
    """Open what FFmpeg finds at `address`.

    Args:
        address: In FFmpeg's notation: "file:PATH", "tcp://HOST:PORT", a device, ...
        name: What error messages call it.
        format: Name of FFmpeg's demuxer; found from the contents by default.
        options: Options of the demuxer.
        timeout: Seconds to wait for the opening, and later for each packet.

    Raises:
        InputError: FFmpeg cannot read it; the message gives FFmpeg's reason.
    """
    try:
        return av.open(
            address, mode="r", format=format, options=options, metadata_errors="ignore", timeout=timeout
        )
    except av.FFmpegError as error:
        raise InputError(f"{name}: cannot be read as a video: {reason(error)}") from error


def open_file(path: Path) -> InputContainer:
    """Open a video file.

    Raises:
        InputError: It is no regular file, or FFmpeg cannot read it.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: expected a video file, got something that is no regular file")
    # The prefix keeps FFmpeg from taking a name like "http:x.mp4" for an address.
    return open_container(
        f"file:{path}",
        name=str(path),
        options={"protocol_whitelist": "file", "format_whitelist": _self_contained_formats()},
    )


@cache
def _self_contained_formats() -> str:
    """The demuxers of this FFmpeg that read the file that they are given and nothing else."""
    return ",".join(sorted(name for name in av.formats_available if not _refers_to_others(name)))


def _refers_to_others(name: str) -> bool:
    """Whether a format is a device, or one whose files name other files or addresses, as playlists do."""
    if name in _PLAYLISTS:
        return True
    try:
        return ContainerFormat(name, "r").no_file
    except ValueError:  # not for reading
        return False


_PLAYLISTS = {"concat", "dash", "hls", "imf", "sdp", "vobsub", "webm_dash_manifest", "ffmetadata"}


def reason(error: av.FFmpegError) -> str:
    """FFmpeg's words for what went wrong, on one line."""
    # FFmpeg calls running into PyAV's timeout an "exit".
    return "no answer in time" if isinstance(error, ExitError) else str(error.strerror)


def video_stream(container: InputContainer, *, name: str) -> VideoStream:
    """The first stream of moving pictures: not an album cover, not the picture FFmpeg paints of a text.

    Raises:
        InputError: There is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and container.format.name != "tty":
            return stream
    raise InputError(f"{name}: expected a video, found no video stream in it")


def frame_rate(stream: VideoStream) -> Fraction:
    """Frames a second, the average where the rate varies."""
    return stream.average_rate or stream.guessed_rate or DEFAULT_RATE


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets that hold data.

    Raises:
        av.FFmpegError: Reading broke off.
    """
    for packet in container.demux(stream):
        if packet.size:  # to a decoder an empty one would mean the end of the video
            yield packet


def decode(stream: VideoStream, packets: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame]:
    """The frames of the packets, in order of presentation; what cannot be decoded is left out.

    Where reading the packets breaks off, the frames that were read come first, then the error.

    Raises:
        av.FFmpegError: From `packets`.
    """
    broken: av.FFmpegError | None = None
    remaining = iter(packets)
    while broken is None:
        try:
            packet = next(remaining, None)
        except av.FFmpegError as error:
            packet, broken = None, error
        yield from _decode_packet(stream, packet)
        if packet is None:
            break
    if broken is not None:
        raise broken


def decode_to_break(stream: VideoStream, packets: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame]:
    """Decode up to the end, or to where the file breaks off."""
    try:
        yield from decode(stream, packets)
    except av.FFmpegError:
        return


def _decode_packet(stream: VideoStream, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
    """The frames that this packet completes, none if it is damaged; without a packet the last ones."""
    try:
        return stream.decode(packet)
    except av.FFmpegError:
        return []


def to_image(frame: VideoFrame) -> Image:
    """RGB uint8 (H, W, 3) of a frame of any pixel format, turned the way it is to be displayed."""
    image = cast(Image, frame.to_ndarray(format="rgb24"))
    matrix = _display_matrix(frame)
    return image if matrix is None else _turn(image, *matrix)


def displayed_size(frame: VideoFrame) -> tuple[int, int]:
    """Width and height in pixels of a frame the way it is to be displayed."""
    matrix = _display_matrix(frame)
    if matrix is not None and _is_sideways(*matrix):
        return frame.height, frame.width
    return frame.width, frame.height


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """The a, b, c, d of FFmpeg's display matrix `a b u, c d v, x y w`; None if the frame has none."""
    try:
        for data in cast("Iterable[SideData]", frame.side_data):
            if data.type is SideDataType.DISPLAYMATRIX:
                a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
                return a, b, c, d
    except ValueError:  # PyAV cannot list side data of a kind it does not know; it still tells the angle
        angle = math.radians(frame.rotation)
        cos, sin = round(math.cos(angle) * 65536), round(math.sin(angle) * 65536)
        return cos, -sin, sin, cos
    return None


def _is_sideways(a: int, b: int, c: int, d: int) -> bool:
    """Whether a display matrix swaps width and height."""
    return abs(b) > abs(a)


def _turn(image: Image, a: int, b: int, c: int, d: int) -> Image:
    """Display (x, y), y downwards, at x' = ax + cy, y' = bx + dy.

    Cameras write quarter turns and mirrors; any other angle is taken to the nearest of these.
    """
    if _is_sideways(a, b, c, d):  # x' comes from y
        image = image.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
