"""Open and decode video files and live streams with FFmpeg."""

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
"""Frames per second of videos without a frame rate, such as image folders and raw video."""

MAX_PIXELS = 8192 * 4352
"""Maximum number of pixels in a frame: the limit of the highest levels (6.x) of H.264, HEVC and AV1."""

_DECODER_MEMORY = 512 << 20
"""Maximum memory for the frames that a decoder's threads hold, in bytes."""


def open_container(
    address: str,
    *,
    name: str,
    format: str | None = None,  # noqa: A002 - as in av.open
    options: dict[str, str] | None = None,
    timeout: float | None = None,
) -> InputContainer:
    """Open a file, stream or device with FFmpeg.

    Args:
        address: Address in FFmpeg's notation: "file:PATH", "tcp://HOST:PORT" or a device.
        name: Name of the input in error messages.
        format: Name of FFmpeg's demuxer; by default FFmpeg recognizes the format.
        options: Options of the demuxer.
        timeout: Seconds to wait for the input to open, and later for each packet.

    Raises:
        InputError: FFmpeg cannot read the input; the message gives FFmpeg's reason.
    """
    try:
        return av.open(
            address, mode="r", format=format, options=options, metadata_errors="ignore", timeout=timeout
        )
    except av.FFmpegError as error:
        raise InputError(f"{name}: cannot be read as a video: {reason(error)}") from error


def open_file(path: Path) -> InputContainer:
    """Open a video file, but not a playlist or another file that refers to further files.

    Raises:
        InputError: The file is not a regular file, refers to other files, or cannot be read by FFmpeg.
    """
    check_regular_file(path)
    options = {"protocol_whitelist": "file", "format_whitelist": _self_contained_formats()}
    try:
        # Without the prefix, FFmpeg would take a name such as "http:x.mp4" for an address.
        return open_container(f"file:{path}", name=str(path), options=options)
    except InputError as error:
        if isinstance(error.__cause__, av.ArgumentError):  # the format is not in the whitelist
            raise InputError(
                f"{path}: expected a file that holds a video, got a playlist or another file that names files"
            ) from error
        raise


_PLAYLISTS = {"concat", "dash", "ffmetadata", "hls", "imf", "sdp", "vobsub", "webm_dash_manifest"}
"""Formats whose files refer to other files or addresses."""


@cache
def _self_contained_formats() -> str:
    """Return the formats for which FFmpeg reads only the given file."""
    return ",".join(sorted(name for name in av.formats_available if not _refers_to_others(name)))


def _refers_to_others(name: str) -> bool:
    try:
        # Formats that are not read from one file are devices, network protocols and numbered image files.
        return name in _PLAYLISTS or ContainerFormat(name, "r").no_file
    except ValueError:  # FFmpeg only writes this format
        return False


def reason(error: av.FFmpegError) -> str:
    """Return the reason for an FFmpeg error, on one line."""
    # FFmpeg reports PyAV's timeout as an "exit".
    return "no answer in time" if isinstance(error, ExitError) else str(error.strerror)


def video_stream(container: InputContainer, *, name: str) -> VideoStream:
    """Find the first video stream that is not an album cover or FFmpeg's rendering of a text file.

    Raises:
        InputError: There is no such stream, FFmpeg has no decoder for it, or its frames have more than
            `MAX_PIXELS`.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and container.format.name != "tty":
            if stream.codec_context is None:
                raise InputError(f"{name}: expected a video in a codec that FFmpeg can decode")
            _limit(stream, name=name)
            return stream
    raise InputError(f"{name}: expected a video, found no video stream in it")


def _limit(stream: VideoStream, *, name: str) -> None:
    """Limit the memory of a stream's decoder, which then treats frames above `MAX_PIXELS` as damaged.

    Raises:
        InputError: The stream declares frames above `MAX_PIXELS`.
    """
    pixels = stream.width * stream.height
    if pixels > MAX_PIXELS:
        raise InputError(
            f"{name}: expected frames of at most {MAX_PIXELS} pixels, such as 8192x4352, "
            f"got {stream.width}x{stream.height}"
        )
    context = stream.codec_context
    context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
    threads = _DECODER_MEMORY // max(6 * pixels, 1)  # common formats take at most 6 bytes per pixel
    if threads <= (os.cpu_count() or 1):
        stream.thread_count = max(threads, 1)


def frame_rate(stream: VideoStream) -> Fraction:
    """Return the frame rate of a stream in frames per second; the average if the rate varies."""
    return stream.average_rate or stream.guessed_rate or DEFAULT_RATE


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of a stream that have data.

    Raises:
        av.FFmpegError: The input breaks off.
    """
    try:
        for packet in container.demux(stream):
            # A decoder would take an empty packet for the end of the video.
            if packet.size and packet.stream_index == stream.index:
                yield packet
    except IndexError:  # raised at the end of some files whose damage looks like another stream
        return


def packets_to_break(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of a stream that have data, until the input ends or breaks off."""
    try:
        yield from read_packets(container, stream)
    except av.FFmpegError:
        return


def decode(stream: VideoStream, packets: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame | None]:
    """Decode packets to frames in presentation order.

    Yields:
        Frames, and None for each packet that is too damaged to be decoded.

    Raises:
        av.FFmpegError: Iterating over `packets` raised this error. It is raised again after the last frame.
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
    """Return the frames that a packet completes, or [None] if the packet is damaged.

    Args:
        stream: The stream of the packet.
        packet: The packet, or None to get the frames that the decoder still holds.
    """
    try:
        return stream.decode(packet)
    except av.FFmpegError:
        return [None]
