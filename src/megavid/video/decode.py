"""Decoding through FFmpeg: what video files and live streams have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ExitError
from av.format import ContainerFormat
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from megavid.core.errors import InputError
from megavid.core.files.regular_files import check_regular_file

DEFAULT_RATE = Fraction(25)
"""Frames a second where nothing says how many: image folders, raw video."""

MAX_PIXELS = 8192 * 4352
"""Pixels of a frame: the most that the highest levels (6.x) of H.264, HEVC and AV1 allow."""

_DECODER_MEMORY = 512 << 20
"""Bytes for the frames that the decoder's threads work on: every thread holds some of its own."""


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
    """Open a video file that holds all of the video itself: playlists and the like are refused.

    Raises:
        InputError: It is no regular file, names others, or FFmpeg cannot read it.
    """
    check_regular_file(path)
    options = {"protocol_whitelist": "file", "format_whitelist": _self_contained_formats()}
    try:
        # The prefix keeps FFmpeg from taking a name like "http:x.mp4" for an address.
        return open_container(f"file:{path}", name=str(path), options=options)
    except InputError as error:
        if isinstance(error.__cause__, av.ArgumentError):  # of a format that is not on the list
            raise InputError(
                f"{path}: expected a file that holds a video, got a playlist or another file that names files"
            ) from error
        raise


_PLAYLISTS = {"concat", "dash", "ffmetadata", "hls", "imf", "sdp", "vobsub", "webm_dash_manifest"}
"""Formats of files that name other files or addresses."""


@cache
def _self_contained_formats() -> str:
    """The formats in which this FFmpeg reads the file that it is given and nothing else."""
    return ",".join(sorted(name for name in av.formats_available if not _refers_to_others(name)))


def _refers_to_others(name: str) -> bool:
    try:
        # What opens no file itself is a device, a network protocol or a numbered series of images.
        return name in _PLAYLISTS or ContainerFormat(name, "r").no_file
    except ValueError:  # a format for writing only
        return False


def reason(error: av.FFmpegError) -> str:
    """FFmpeg's words for what went wrong, on one line."""
    # FFmpeg calls running into PyAV's timeout an "exit".
    return "no answer in time" if isinstance(error, ExitError) else str(error.strerror)


def video_stream(container: InputContainer, *, name: str) -> VideoStream:
    """The first stream of moving pictures: not an album cover, not the picture FFmpeg paints of a text.

    Raises:
        InputError: There is none, FFmpeg has no decoder for it, or its frames have more than `MAX_PIXELS`.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and container.format.name != "tty":
            if stream.codec_context is None:
                raise InputError(f"{name}: expected a video in a codec that FFmpeg can decode")
            _limit(stream, name=name)
            return stream
    raise InputError(f"{name}: expected a video, found no video stream in it")


def _limit(stream: VideoStream, *, name: str) -> None:
    """Bound the memory that decoding takes; frames that turn out to be larger are damaged ones then."""
    pixels = stream.width * stream.height
    if pixels > MAX_PIXELS:
        raise InputError(
            f"{name}: expected frames of at most {MAX_PIXELS} pixels, such as 8192x4352, "
            f"got {stream.width}x{stream.height}"
        )
    context = stream.codec_context
    context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
    threads = _DECODER_MEMORY // max(6 * pixels, 1)  # at most 6 bytes a pixel in common formats
    if threads <= (os.cpu_count() or 1):
        stream.thread_count = max(threads, 1)


def frame_rate(stream: VideoStream) -> Fraction:
    """Frames a second, the average where the rate varies."""
    return stream.average_rate or stream.guessed_rate or DEFAULT_RATE


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets that hold data.

    Raises:
        av.FFmpegError: Reading broke off.
    """
    try:
        for packet in container.demux(stream):
            # To a decoder an empty one would mean the end of the video.
            if packet.size and packet.stream_index == stream.index:
                yield packet
    except IndexError:  # PyAV's, at the end of a file in which a damaged place looked like another stream
        return


def packets_to_break(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets that hold data, up to the end or to where reading breaks off."""
    try:
        yield from read_packets(container, stream)
    except av.FFmpegError:
        return


def decode(stream: VideoStream, packets: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame | None]:
    """Decode packets to frames in order of presentation.

    Where reading the packets breaks off, the frames that were read come first, then the error.

    Yields:
        Frames, and None in place of each packet that is damaged beyond decoding.

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
        yield from decode_packet(stream, packet)
        if packet is None:
            break
    if broken is not None:
        raise broken


def decode_packet(stream: VideoStream, packet: Packet[VideoStream] | None) -> Sequence[VideoFrame | None]:
    """The frames that this packet completes, [None] if it is damaged; without a packet the last ones."""
    try:
        return stream.decode(packet)
    except av.FFmpegError:
        return [None]
