"""Write test videos whose frames can be told apart.

The left half of frame i has the gray level 7 * i, modulo 252, which shows the frame number. The right half
has a moving texture, so that decoding from a wrong reference frame changes the pixels.
"""

from __future__ import annotations

import io
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from megavid.core.frames import Image
from megavid.video.open_input import ImageFolder, VideoFile, open_input


def picture(i: int, width: int = 64, height: int = 48) -> Image:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = 7 * i % 252
    texture = np.add.outer(np.arange(height), np.arange(width - width // 2) + 5 * i) * 6 % 256
    image[:, width // 2 :] = texture[..., None]
    return image


def number(image: Image) -> int:
    return round(float(image[:, 4 : image.shape[1] // 2 - 4].mean()) / 7)


def make_video(
    path: Path | io.BytesIO,
    count: int,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] | None = None,
    format: str | None = None,  # noqa: A002
    movflags: str = "",
    pixel_aspect: Fraction | None = None,
) -> None:
    """Write `count` frames, one every 1/25 s or at the given `times`, which are in ms."""
    muxer = {"movflags": movflags} if movflags else {}
    with av.open(path, "w", format=format, options=muxer) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def open_video(path: Path) -> VideoFile:
    video = open_input(path)
    assert isinstance(video, VideoFile)
    return video


def open_folder(spec: str | Path, *, fps: float | None = None) -> ImageFolder:
    folder = open_input(spec, fps=fps)
    assert isinstance(folder, ImageFolder)
    return folder


def check_consistent(video: VideoFile, count: int) -> None:
    """Check that iteration yields `count` frames, and that indexing returns the pixels of iteration."""
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(count))
    assert len(video) == count
    assert video.lost == 0
    shuffled = random.Random(0).sample(range(count), count)
    for i in (*shuffled, *range(count), *reversed(range(count))):
        np.testing.assert_array_equal(video[i], frames[i].image)


def packet_places(path: Path) -> list[tuple[int, int]]:
    with av.open(path) as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def damage(path: Path, packets: Sequence[int]) -> None:
    data, places = bytearray(path.read_bytes()), packet_places(path)
    for i in packets:
        position, size = places[i]
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


@contextmanager
def serve(data: bytes, *, bytes_per_second: int | None = None) -> Iterator[str]:
    """Yield the address of a server that sends the data to its first client and closes the connection."""
    step = len(data) if bytes_per_second is None else bytes_per_second // 50

    def send() -> None:
        connection, _ = server.accept()
        with connection, suppress(ConnectionError):  # the client may disconnect first
            for start in range(0, len(data), step):
                connection.sendall(data[start : start + step])
                if bytes_per_second is not None:
                    time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=send)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)
